"""`llmring`: the commands by name, and how every one of them ends.

    exit code   when
    0           it worked
    1           a request, or a row of a map, failed
    2           the command line, the lockfile or the environment is wrong; nothing was sent
    130         Ctrl-C

Standard output carries the answer only; everything else goes to standard error. A command is imported when it runs, so
that `--help` loads neither an event loop nor an HTTP client.
"""

import importlib
import json
import os
import sys
from collections.abc import Sequence
from io import TextIOWrapper

import click

from llmring import __version__

COMMANDS = {
    "chat": ("llmring.cli.chat", "Ask a model, by alias or as provider:model."),
    "map": ("llmring.cli.map", "Send every row of a JSONL file to an alias."),
    "sim": ("llmring.cli.sim", "Play OpenAI and Anthropic on a local port."),
    "demo": ("llmring.cli.demo", "Show the router against the simulator; no keys needed."),
}
"""Name, home, and what the list of commands says. The home holds a click command called `command`."""

EXIT_FAILED = 1
EXIT_SETUP = 2
EXIT_INTERRUPTED = 130


class Commands(click.Group):
    """A group whose commands are imported when they are asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        home, _ = COMMANDS[cmd_name]
        command: click.Command = importlib.import_module(home).command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, about) for name, (_, about) in COMMANDS.items()])


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
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
