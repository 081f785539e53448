"""`llmring demo`: the main job against the simulator, with the least possible time and an independent count."""

from pathlib import Path

import click
import httpx2
import msgspec
import trio

from llmring.cli.progress import progress_shown, report_text
from llmring.cli.running import note, run_trio
from llmring.cli.sim import missing_extra
from llmring.errors import LLMRingError
from llmring.lockfile import Lockfile, parse_lockfile
from llmring.providers.pace import Pace, least_seconds
from llmring.router.map.run import MapRun
from llmring.router.opening import open_router

KEY_VARIABLE = "LLMRING_DEMO_KEY"
LATENCY_SECONDS = 0.4
OPENAI_RPM = 300
ANTHROPIC_RPM = 240
OUTAGE_FROM_SECONDS = 6.0
OUTAGE_UNTIL_SECONDS = 14.0
MOST_SECONDS = 110.0
MOST_ROWS = 1400
"""As many as the limits let through well within MOST_SECONDS: 96 s."""

LOCKFILE = """
[[profiles.default.bindings]]
alias = "summarizer"
models = ["openai:gpt-4o-mini", "anthropic:claude-haiku-4-5"]

[providers.openai]
base_url = "{openai}"
api_key_env = "{key}"
requests_per_minute = {openai_rpm}

[providers.anthropic]
base_url = "{anthropic}"
api_key_env = "{key}"
requests_per_minute = {anthropic_rpm}
"""


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """What the simulator counted: an independent witness."""

    answered: int
    refused: int
    faults: int


@click.command()
@click.option("--rows", default=1000, show_default=True, type=click.IntRange(1, MOST_ROWS), help="Prompts to send.")
@click.option("-q", "--quiet", is_flag=True, help="No progress while it runs.")
def command(rows: int, quiet: bool) -> int:
    """Show the router at work, without keys: it takes about a minute.

    Starts the provider simulator with two rate-limited providers, one of which fails for a while, sends prompts
    through router.map over an alias with both in its fallback chain, and reports. Ends with 1 if a row was lost.
    """
    return run_trio(lambda: demonstrate(rows, quiet=quiet))


async def demonstrate(rows: int, *, quiet: bool) -> int:
    """The exit code."""
    try:
        import llmring.sim.server  # noqa: F401 - only to see that it can be imported; it runs in its own process
    except ModuleNotFoundError as error:
        raise missing_extra("the demo", "demo", error).error from error
    from llmring.sim.config import ProviderConfig, SimConfig
    from llmring.sim.faults import Fault
    from llmring.sim.latency import Lognormal
    from llmring.sim.process import open_simulator

    latency = Lognormal(median=LATENCY_SECONDS, sigma=0.3)
    outage = Fault(kind="status_500", from_seconds=OUTAGE_FROM_SECONDS, until_seconds=OUTAGE_UNTIL_SECONDS)
    config = SimConfig(
        providers={
            "openai": ProviderConfig(requests_per_minute=OPENAI_RPM, latency=latency, seed=1, faults=(outage,)),
            "anthropic": ProviderConfig(requests_per_minute=ANTHROPIC_RPM, latency=latency, seed=2),
        }
    )
    _introduce(rows)
    async with open_simulator(config) as simulator:
        text = LOCKFILE.format(
            openai=simulator.openai_url("openai"),
            anthropic=simulator.anthropic_url("anthropic"),
            key=KEY_VARIABLE,
            openai_rpm=OPENAI_RPM,
            anthropic_rpm=ANTHROPIC_RPM,
        )
        run = await _map(parse_lockfile(text, Path("demo.lock")), rows, quiet=quiet)
        seen = await _ask(simulator.url)
    _conclude(run, seen, rows)
    return 0 if run.report.answered == rows else 1


def _introduce(rows: int) -> None:
    note(f"summarizer -> openai:gpt-4o-mini ({OPENAI_RPM}/min), then anthropic:claude-haiku-4-5 ({ANTHROPIC_RPM}/min)")
    note(f"openai answers 500 from second {OUTAGE_FROM_SECONDS:g} to {OUTAGE_UNTIL_SECONDS:g}; {rows:,} prompts\n")


async def _map(lockfile: Lockfile, rows: int, *, quiet: bool) -> MapRun:
    """Send all prompts; give up, with what there is, after nearly two minutes."""
    async with open_router(
        lockfile, profile="default", keys={KEY_VARIABLE: "demo"}, refresh=False, state=False, receipts=False
    ) as router:
        run = router.map("summarizer", (f"Summarize page {number}." for number in range(1, rows + 1)))
        with trio.move_on_after(MOST_SECONDS):
            await _read_all(run, rows, quiet=quiet)
    return run


async def _read_all(run: MapRun, rows: int, *, quiet: bool) -> None:
    async with run, progress_shown(run, rows, quiet=quiet):
        async for row in run:
            if row.error is not None:
                note(f"row {row.index + 1}: {row.error}")


async def _ask(url: str) -> Seen:
    async with httpx2.AsyncClient(trust_env=False) as client:
        try:
            stats = (await client.get(f"{url}/__stats")).raise_for_status().json()
        except httpx2.HTTPError as error:
            raise LLMRingError(f"the simulator does not say what it counted: {error}") from error
    models = [
        model
        for provider in stats["providers"].values()
        for key in provider["keys"].values()
        for model in key["models"].values()
    ]
    return Seen(
        answered=sum(model["statuses"].get("200", 0) for model in models),
        refused=sum(model["statuses"].get("429", 0) for model in models),
        faults=sum(model["statuses"].get("500", 0) for model in models),
    )


def bound_seconds(rows: int) -> float:
    """The least possible time: both buckets full at the start, refilled at their rates, the last answer's latency.

    The outage is shorter than a bucket takes to fill, so it takes nothing off what can be had in the end.
    """
    paces = [
        Pace(at_once=float(rpm), rows_per_second=rpm / 60.0, binding="requests limit")
        for rpm in (OPENAI_RPM, ANTHROPIC_RPM)
    ]
    return least_seconds(rows, paces, LATENCY_SECONDS)


def _conclude(run: MapRun, seen: Seen, rows: int) -> None:
    least, wall = bound_seconds(rows), run.report.wall_seconds
    click.echo(report_text(run.report))
    click.echo(f"lost: {rows - run.report.answered:,}")
    click.echo(f"wall time {wall:.1f} s, least possible {least:.1f} s ({wall / least:.2f} times)")
    click.echo(f"the simulator counted: {seen.answered:,} answered, {seen.refused:,} refused, {seen.faults:,} failed")
