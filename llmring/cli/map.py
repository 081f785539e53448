"""`llmring map`: a file of prompts in, a file of answers out."""

from decimal import Decimal
from pathlib import Path
from typing import Any, get_args

import click
import msgspec
from click.shell_completion import CompletionItem

from llmring.chat import Effort
from llmring.cli.amounts import dollars, duration
from llmring.cli.apart import check_apart
from llmring.cli.failed_rows import RowFailed, placed
from llmring.cli.formats import effort_option, read_schema, schema_option
from llmring.cli.lines import STDIN, open_lines
from llmring.cli.map_status import command as status
from llmring.cli.names import complete_either
from llmring.cli.output import Output, open_output, part_of
from llmring.cli.progress import progress_shown, report_text
from llmring.cli.rows import Rows, columns_read, written
from llmring.cli.running import check_is_ours, failing_cleanly, note, open_lockfile, run_trio
from llmring.cli.stopping import Stop
from llmring.cli.template import Template
from llmring.cli.tracing import telemetry, trace_option
from llmring.config import find_lockfile, read_settings
from llmring.errors import BudgetExceeded, LLMRingError, MapTimeout, TooManyFailures
from llmring.prompts import ChatOptions
from llmring.providers.fairness import SHARES, Priority
from llmring.router.map.batch_plan import Mode
from llmring.router.map.given import OnError
from llmring.router.map.report import Report
from llmring.router.map.rows import Row
from llmring.router.map.run import MapRun
from llmring.router.opening import open_router
from llmring.router.status_directory import has_sockets
from llmring.telemetry.telemetry import Telemetry
from llmring.trace import Spill

FAILED_ROWS = 1
STATUS = "status"

Adopted = tuple[str, str | None]
"""A batch's tag and its id."""


class MapCommand(click.Command):
    """`map ALIAS INPUT`, and `map status RUN`: the first word decides. Behind an option or `--` it is an alias."""

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        if args[:1] != [STATUS]:
            return super().make_context(info_name, args, parent, **extra)
        return status.make_context(f"{info_name} {STATUS}", args[1:], parent, **extra)


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """The command line, as it was given."""

    alias: str
    source: Path
    output: Path | None
    prompt: str | None
    system: str | None
    temperature: float | None
    top_p: float | None
    seed: int | None
    stop: tuple[str, ...]
    max_tokens: int | None
    effort: Effort | None
    schema: Path | None
    timeout: float | None
    window: int | None
    ordered: bool
    force: bool
    checkpoint: Path | None
    key: str | None
    on_error: OnError
    max_failures: int | None
    budget: Decimal | None
    deadline: float | None
    dedupe: bool
    spill: Spill
    priority: Priority
    tenant: str
    weight: float
    decisions: Path | None
    trace: Path | None
    mode: Mode
    adopt: tuple[Adopted, ...]
    quiet: bool
    profile: str | None
    lockfile: str | None


def _adopted(_ctx: click.Context, _parameter: click.Parameter, given: tuple[str, ...]) -> tuple[Adopted, ...]:
    pairs = [text.partition("=") for text in given]
    if not all(tag and batch_id for tag, _, batch_id in pairs):
        raise click.BadParameter("expected TAG=ID, or TAG=none")
    return tuple((tag, None if batch_id == "none" else batch_id) for tag, _, batch_id in pairs)


def _complete_first(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    words = [CompletionItem(STATUS)] if STATUS.startswith(incomplete) else []
    return words + complete_either(ctx, parameter, incomplete)


@click.command(
    cls=MapCommand,
    epilog="""\b
    A row of INPUT is a JSON string, or an object with "prompt" or "messages", and, where they differ
    from the options, those of router.chat: system, temperature, max_tokens, tools, response_format,
    reasoning_effort and so on. An "id" comes back with the answer. A row that cannot be read becomes
    an error row; the others go on. In a CSV file the first line names the columns. Parquet needs
    pyarrow: pip install 'llmring[parquet]'. What -o names is written by its ending, too.

    \b
    Examples:
      llmring map summarizer pages.jsonl -o summaries.jsonl
      llmring map tagger reviews.csv --prompt "Tag this {language} review: {text}" -o tags.csv
      llmring map tagger reviews.parquet --prompt "Tag this review: {text}" -o tags.parquet
      jq -c '{prompt: .text, id: .key}' data.json | llmring map tagger - --ordered > tags.jsonl
      llmring map summarizer pages.jsonl -o summaries.jsonl --checkpoint run.jsonl --budget 5.00
      llmring map summarizer pages.jsonl -o summaries.jsonl --checkpoint run.jsonl --mode auto
      llmring map status run.jsonl

    \b
    An alias that is called "status" stands behind "--": llmring map -- status pages.jsonl
    """,
)
@click.argument("alias", shell_complete=_complete_first)
@click.argument("source", metavar="INPUT", type=click.Path(path_type=Path, allow_dash=True))
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, allow_dash=True),
    help="JSONL, or a table: .csv, .parquet. Default: JSONL on stdout.",
)
@click.option(
    "-p", "--prompt", help='A prompt with the columns of a row in it: "Summarize: {text}". Braces are written twice.'
)
@click.option("-s", "--system", help="A system message for every row that has none of its own.")
@click.option("--temperature", type=float, help="Sent only when given.")
@click.option("--top-p", type=float, help="Sent only when given.")
@click.option("--seed", type=int, help="Sent only when given.")
@click.option("--stop", metavar="TEXT", multiple=True, help="Where an answer ends. May be repeated.")
@click.option("--max-tokens", type=int, help="The longest answer, in tokens.")
@effort_option
@schema_option
@click.option("--timeout", type=float, help="Seconds for each row, waiting included. Default: as long as it takes.")
@click.option("--window", type=click.IntRange(min=1), help="Rows in flight. Default: twice the connections.")
@click.option("--ordered", is_flag=True, help="Write rows in the order of the input, not as they finish.")
@click.option(
    "--checkpoint",
    type=click.Path(path_type=Path),
    help="A journal of finished rows: the same command again goes on where it stood.",
)
@click.option("--key", metavar="COLUMN", help="What a row is known by in the journal, in place of what it asks.")
@click.option(
    "--on-error",
    type=click.Choice(get_args(OnError)),
    default="yield",
    show_default=True,
    help="What a failed row is: a row of OUTPUT, the end of the run after those on the wire, or left out.",
)
@click.option(
    "--max-failures", type=click.IntRange(min=0), help="Send no more rows when more than so many have failed."
)
@click.option(
    "--budget", metavar="USD", type=dollars, help="Send no more rows than so many dollars are sure to pay for."
)
@click.option("--deadline", metavar="TIME", type=duration, help="Cut the run off after 90, 90s, 30m, 2h.")
@click.option("--dedupe", is_flag=True, help="Ask equal rows once.")
@click.option(
    "--spill",
    type=click.Choice(get_args(Spill)),
    default="auto",
    show_default=True,
    help="Use the next models when the first makes a row wait; when it has failed; or not at all.",
)
@click.option(
    "--priority",
    type=click.Choice(tuple(SHARES)),
    default="batch",
    show_default=True,
    help="Where limits are short, calls that somebody waits for go before batches, 9 to 1.",
)
@click.option("--tenant", default="", help="Whose work this is: those of one priority share the limits.")
@click.option("--weight", type=float, default=1.0, show_default=True, help="The tenant's share.")
@click.option(
    "--decisions",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Append to FILE what was decided for each row, for `llmring replay`. Default: LLMRING_DECISIONS.",
)
@trace_option
@click.option(
    "--mode",
    type=click.Choice(get_args(Mode)),
    default="online",
    show_default=True,
    help="Through the providers' batch APIs, at half the price and within a day; auto asks online what they leave.",
)
@click.option(
    "--adopt",
    metavar="TAG=ID",
    multiple=True,
    callback=_adopted,
    help="The id of a batch that a killed run has lost; TAG=none where the provider has no such batch.",
)
@click.option("--force", is_flag=True, help="Replace an OUTPUT that exists.")
@click.option("-q", "--quiet", is_flag=True, help="No progress and no report on standard error.")
@click.option("--profile", help="A profile of the lockfile. Default: LLMRING_PROFILE, then the lockfile's.")
@click.option("--lockfile", metavar="FILE", help="Default: LLMRING_LOCKFILE_PATH, then ./llmring.lock.")
def command(**given: Any) -> int:
    """Send every row of INPUT to ALIAS, and write one for each. INPUT is JSONL, or .csv, or .parquet; '-' is JSONL on
    standard input.

    Rows wait for the limits of the whole chain as long as it takes. The output appears when it is whole; until then
    finished rows are in OUTPUT.part, as JSON lines. With --checkpoint a run that was interrupted or killed is taken up
    by the same command: what was answered is not asked again; `llmring map status` says how much that is. After the
    first Ctrl-C nothing more is sent, and what is on the wire has 10 seconds; the second one cuts it off. Batches go on
    at their providers meanwhile, and the same command reads them.
    """
    options = Options(**given)
    with failing_cleanly():
        _check_files(options)
    with failing_cleanly(), telemetry(options.trace) as told:
        report = run_trio(lambda: work(options, told))
    return FAILED_ROWS if report.failed else 0


async def work(options: Options, told: Telemetry | None) -> Report:
    """Run the map. Raises LLMRingError."""
    lockfile = open_lockfile(options.lockfile)
    check_is_ours(lockfile, options.alias)
    template = Template(options.prompt) if options.prompt is not None else None
    with open_lines(options.source, columns_read(template, options.key)) as lines:
        async with open_router(
            lockfile, profile=options.profile, status=_shown(), decisions=options.decisions, telemetry=told
        ) as router:
            call_options = _call_options(options)
            rows = Rows(lines, options.alias, call_options, template, options.key)
            run = router.map(
                options.alias,
                rows,
                ordered=options.ordered,
                window=options.window,
                on_error=options.on_error,
                key=(lambda _: rows.name) if options.key is not None else None,
                checkpoint=options.checkpoint,
                max_failures=options.max_failures,
                budget=options.budget,
                deadline=options.deadline,
                dedupe=options.dedupe,
                spill=options.spill,
                mode=options.mode,
                adopt=dict(options.adopt),
                priority=options.priority,
                tenant=options.tenant,
                weight=options.weight,
                **call_options,
            )
            try:
                with open_output(options.output, force=options.force, journal=options.checkpoint) as output:
                    await _write_all(run, rows, output, lines.total, quiet=options.quiet)
            except* (BudgetExceeded, MapTimeout, RowFailed, TooManyFailures):
                _report(run, lines.total, quiet=options.quiet)
                raise
    _report(run, lines.total, quiet=options.quiet)
    return run.report


def _check_files(options: Options) -> None:
    """Raises ConfigError before anything is written."""
    settings, output = read_settings(), options.output
    is_file = output is not None and output != STDIN
    check_apart(
        read={
            "INPUT": options.source if options.source != STDIN else None,
            "--schema": options.schema,
            "the lockfile": find_lockfile(options.lockfile, settings, Path.cwd()),
        },
        written={
            "-o": output if is_file else None,
            "the .part of -o": part_of(output) if output is not None and is_file else None,
            "--checkpoint": options.checkpoint,
            "--decisions": options.decisions or settings.decisions,
            "--trace": options.trace,
        },
    )


def _report(run: MapRun, total: int | None, *, quiet: bool) -> None:
    if not quiet:
        note(report_text(run.report, total))


def _shown() -> bool | None:
    """To its user, who may want to know how far it is; unless LLMRING_STATUS says otherwise."""
    return True if read_settings().status is None and has_sockets() else None


async def _write_all(run: MapRun, rows: Rows, output: Output, total: int | None, *, quiet: bool) -> None:
    stop = Stop(run.stop)
    try:
        async with run, progress_shown(run, total, quiet=quiet), stop.listening():
            with stop.scope:
                while (row := await _next_row(run, rows)) is not None:
                    output.write(written(row, rows.marks.pop(row.index)))
    finally:
        # Stopped halfway, by Ctrl-C or an error: what has been answered was paid for.
        for row in run.finished_nowait():
            output.write(written(row, rows.marks.pop(row.index)))
    if stop.signal is not None:
        stop.leave()


async def _next_row(run: MapRun, rows: Rows) -> Row | None:
    """None at the end. Raises LLMRingError that says which row it was."""
    try:
        return await anext(run, None)
    except LLMRingError as error:
        if run.stopped_at is None:
            raise
        raise placed(error, rows.place(run.stopped_at)) from error


def _call_options(options: Options) -> ChatOptions:
    return {
        "system": options.system,
        "temperature": options.temperature,
        "top_p": options.top_p,
        "seed": options.seed,
        "stop": options.stop or None,
        "max_tokens": options.max_tokens,
        "reasoning_effort": options.effort,
        "response_format": read_schema(options.schema),
        "timeout": options.timeout,
    }
