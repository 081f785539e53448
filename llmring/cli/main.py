"""`llmring`: the commands by name, and how every one of them ends.

    exit code   when
    0           it worked
    1           a request, or a row of a map, failed
    2           the command line, the lockfile or the environment is wrong; nothing was sent
    130         Ctrl-C

Standard output carries the answer only; everything else goes to standard error. A command is imported when it runs, so
that `--help` loads neither an event loop nor an HTTP client.
"""

import json
import os
import sys
from collections.abc import Sequence
from io import TextIOWrapper

import click

from llmring import __version__
from llmring.cli.groups import Commands, Homes

COMMANDS: Homes = {
    "lock": ("llmring.cli.lock", "Make, check and edit the lockfile."),
    "bind": ("llmring.cli.bind", "Bind an alias to models."),
    "unbind": ("llmring.cli.bind:unbind", "Take an alias out of the lockfile."),
    "aliases": ("llmring.cli.aliases", "List the aliases of the lockfile."),
    "providers": ("llmring.cli.providers", "List the providers and whether their keys are set."),
    "chat": ("llmring.cli.chat", "Ask a model, by alias or as provider:model."),
    "map": ("llmring.cli.map", "Send every row of a file to an alias."),
    "replay": ("llmring.cli.replay", "Make recorded decisions again, with another lockfile."),
    "status": ("llmring.cli.status", "Show what the running routers wait for."),
    "budgets": ("llmring.cli.budgets", "Show what is spent of the lockfile's budgets."),
    "list": ("llmring.cli.models", "List the registry's models."),
    "info": ("llmring.cli.info", "Show what the registry says of a model or an alias."),
    "cost": ("llmring.cli.cost", "Show what so many tokens cost."),
    "cache": ("llmring.cli.cache", "Look after the registry's lists that are kept on disk."),
    "registry": ("llmring.cli.registry", "Check the registry's published lists."),
    "stats": ("llmring.cli.stats", "Sum up the receipts: calls, tokens, cost, latency."),
    "export": ("llmring.cli.export", "Write the receipts as a table: JSON, CSV or Parquet."),
    "receipts": ("llmring.cli.receipts", "Look at, verify and hand out the receipts of calls."),
    "sim": ("llmring.cli.sim", "Play OpenAI and Anthropic on a local port."),
    "demo": ("llmring.cli.demo", "Show the router against the simulator; no keys needed."),
}
EXIT_FAILED = 1
EXIT_SETUP = 2
EXIT_INTERRUPTED = 130


class RootCommands(Commands):
    homes = COMMANDS


@click.group(cls=RootCommands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="llmring")
def root() -> None:
    """Route LLM calls: an alias, its fallback chain, every provider's limits kept.

    The lockfile (./llmring.lock) says which models serve an alias. Keys come from the environment, such as
    OPENAI_API_KEY and ANTHROPIC_API_KEY.
    """


def main() -> None:
    """The console script."""
    for stream in (sys.stdout, sys.stderr):
        # An answer that the terminal cannot spell is escaped, not lost.
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Run one command. Returns its exit code; an error of ours, or of the command line, becomes one line."""
    try:
        code = root.main(list(arguments), prog_name="llmring", standalone_mode=False)
        sys.stdout.flush()
    except click.ClickException as error:
        if isinstance(error, click.UsageError) and _wants_json(arguments):
            _print_error(type(error).__name__, error.format_message())
        error.show()
        return getattr(error, "code", error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        if _wants_json(arguments):
            _print_error("Aborted", "interrupted")
        click.echo("Aborted.", err=True)
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output has gone (`| head`). Nothing may be written at exit either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_FAILED
    return code if isinstance(code, int) else 0


def _wants_json(arguments: Sequence[str]) -> bool:
    """Asked of the bare arguments, because they may be what is wrong."""
    words = list(arguments)
    return "--json" in (words[: words.index("--")] if "--" in words else words)


def _print_error(kind: str, message: str) -> None:
    click.echo(json.dumps({"error": {"type": kind, "message": message}}))
