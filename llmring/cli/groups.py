"""A group whose commands are imported when they are asked for, so that `--help` stays fast."""

import importlib
from collections.abc import Mapping
from typing import ClassVar

import click

Homes = Mapping[str, tuple[str, str]]
"""Name, home, and what the list of commands says. The home is a module, or `module:attribute`; without an attribute the
click command in it is called `command`."""


class Commands(click.Group):
    """`homes` in the order of the help."""

    homes: ClassVar[Homes] = {}

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.homes)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self.homes:
            return None
        module, _, attribute = self.homes[cmd_name][0].partition(":")
        command: click.Command = getattr(importlib.import_module(module), attribute or "command")
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, about) for name, (_, about) in self.homes.items()])
