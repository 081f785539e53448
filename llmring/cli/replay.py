"""`llmring replay`: recorded decisions made again, as they were or with another lockfile."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import msgspec

from llmring.cli.amounts import spent_text
from llmring.cli.catalogs import current_catalog
from llmring.cli.lockfiles import failing, print_json
from llmring.cli.running import note, open_lockfile
from llmring.cli.tables import print_table, printable
from llmring.lockfile import Lockfile
from llmring.router.comparison import Comparison, Side, compare
from llmring.router.records import Record, read_records
from llmring.router.replay import difference

DIFFERS = 1


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """Where a record and its replay part."""

    line: int
    alias: str
    what: str


class Verified(msgspec.Struct, frozen=True, kw_only=True):
    """A file up to its end, or up to the first difference. `too_long` requests were not kept whole; `batched` ones went
    in batches, where nothing is waited for and tried again."""

    requests: int
    decisions: int
    too_long: int
    batched: int
    difference: Difference | None = None


@click.command(
    epilog="""\b
    FILE is written by open_router(decisions=FILE), LLMRING_DECISIONS=FILE or
    llmring map --decisions FILE. Without --lock and --profile every decision is made again from
    what the record says was seen: exit code 1 where one comes out differently.

    \b
    Examples:
      llmring replay decisions.jsonl
      llmring replay decisions.jsonl --lock cheaper.lock
    """
)
@click.argument("file", metavar="FILE", type=click.Path(path_type=Path))
@click.option("--lock", "--lockfile", "lock", metavar="OTHER", help="Replay with this lockfile.")
@click.option("--profile", help="Replay with this profile. Default: the recorded one, where OTHER has it.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object: money is a string, as it is exact.")
def command(file: Path, lock: str | None, profile: str | None, *, as_json: bool) -> int:
    """Say what recorded requests would cost, who would answer and how long they would wait with another lockfile.

    A model is as ready as the record says it was then; one that is not in the record is assumed to be ready. What
    failed at a model fails there again, and everything else answers. Sends nothing.
    """
    if lock is None and profile is None:
        verified = failing(_verify, file)
        if as_json:
            print_json(msgspec.to_builtins(verified))
        else:
            _print_verified(file, verified)
        return DIFFERS if verified.difference is not None else 0
    found = failing(_compare, file, lock, profile)
    if as_json:
        print_json(_json(found))
    else:
        _print(found)
    return 0


def _verify(file: Path) -> Verified:
    requests = decisions = too_long = batched = 0
    for number, record in read_records(file):
        requests += 1
        decisions += len(record.trace.decisions)
        if record.kind == "batch_row":
            batched += 1
            continue
        if record.trace.left_out:
            too_long += 1
            continue
        what = difference(record.trace)
        if what is not None:
            place = Difference(line=number, alias=record.trace.alias, what=what)
            return Verified(
                requests=requests, decisions=decisions, too_long=too_long, batched=batched, difference=place
            )
    return Verified(requests=requests, decisions=decisions, too_long=too_long, batched=batched)


def _print_verified(file: Path, found: Verified) -> None:
    first = found.difference
    if first is not None:
        note(f"{file}, line {first.line}: {printable(first.alias)}: {printable(first.what)}")
        return
    click.echo(f"{found.requests:,} requests, {found.decisions:,} decisions: all come out as they were recorded")
    if found.too_long:
        click.echo(f"{found.too_long:,} of the requests took too long a way to be kept whole, and were not replayed")
    if found.batched:
        click.echo(f"{found.batched:,} of the requests went in batches, and were not replayed")


def _compare(file: Path, lock: str | None, profile: str | None) -> Comparison:
    lockfile: Lockfile = open_lockfile(lock)
    if profile is not None:
        lockfile.profile(profile)
    return compare(_records(file), lockfile, profile, current_catalog())


def _records(file: Path) -> Iterator[Record]:
    return (record for _, record in read_records(file))


def _print(found: Comparison) -> None:
    before, after = found.before, found.after
    click.echo(f"{found.requests:,} requests, {sum(found.moved.values()):,} of them answered by another model")
    rows = [
        ("answered", f"{before.answered:,}", f"{after.answered:,}"),
        ("failed", _failed(before), _failed(after)),
        ("cost", _cost(before), _cost(after)),
        ("waited", _waited(before), _waited(after)),
    ]
    print_table("", ("", "recorded", "replayed"), rows)
    if found.moved:
        click.echo()
        moves = sorted(found.moved.items(), key=lambda move: (-move[1], str(move[0])))
        cells = [(printable(str(old)), printable(str(new)), f"{count:,}") for (old, new), count in moves]
        print_table("Other models", ("from", "to", "requests"), cells, numbers=("requests",))
    for line in _remarks(found):
        click.echo(line)


def _remarks(found: Comparison) -> list[str]:
    told = [
        (found.newly_failed, "would fail that were answered"),
        (found.newly_answered, "would be answered that failed"),
        (found.assumed, "met a model of which the record does not know whether it was free: assumed to be"),
        (found.estimated, "had failed and would not: they cost what was expected of them"),
        (found.cut_off, "were cut off by their caller, and are not compared"),
        (found.batched, "went in batches, and are not compared"),
        (found.too_long, "took too long a way to be kept whole, and are not compared"),
    ]
    return [f"{count:,} {what}" for count, what in told if count]


def _failed(side: Side) -> str:
    kinds = ", ".join(f"{count:,} {kind}" for kind, count in sorted(side.errors.items()))
    return f"{side.failed:,} ({kinds})" if kinds else "0"


def _cost(side: Side) -> str:
    return spent_text(side.usd, side.unpriced)


def _waited(side: Side) -> str:
    return f"{side.waited_seconds:,.1f} s, the longest {side.longest_wait_seconds:,.1f} s"


def _json(found: Comparison) -> dict[str, Any]:
    return {
        "requests": found.requests,
        "moved": [
            {"from": str(old), "to": str(new), "requests": count} for (old, new), count in sorted(found.moved.items())
        ],
        "newly_failed": found.newly_failed,
        "newly_answered": found.newly_answered,
        "assumed": found.assumed,
        "estimated": found.estimated,
        "cut_off": found.cut_off,
        "too_long": found.too_long,
        "batched": found.batched,
        "recorded": _side_json(found.before),
        "replayed": _side_json(found.after),
    }


def _side_json(side: Side) -> dict[str, Any]:
    return {
        "answered": side.answered,
        "failed": side.failed,
        "errors": dict(sorted(side.errors.items())),
        "cost_usd": f"{side.usd:f}" if side.answered > side.unpriced or not side.answered else None,
        "unpriced": side.unpriced,
        "waited_seconds": round(side.waited_seconds, 6),
        "longest_wait_seconds": round(side.longest_wait_seconds, 6),
    }
