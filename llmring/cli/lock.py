"""`llmring lock`: the commands about the lockfile as a whole."""

from typing import ClassVar

import click

from llmring.cli.groups import Commands, Homes


class LockCommands(Commands):
    homes: ClassVar[Homes] = {
        "init": ("llmring.cli.lock_init", "Write a new lockfile, with aliases for the keys that are there."),
        "validate": ("llmring.cli.lock_validate", "Check every model of every binding."),
        "check": ("llmring.cli.lock_check", "Check the packages that the lockfile extends."),
        "why": ("llmring.cli.lock_why", "Explain how an alias is resolved."),
        "drift": ("llmring.cli.lock_drift:drift", "Show what the registry has changed since it was pinned."),
        "bump-registry": ("llmring.cli.lock_drift:bump", "Pin the current versions of the registry."),
        "upgrade": ("llmring.cli.lock_upgrade", "Rewrite an older form of lockfile in the canonical one."),
    }


@click.group(cls=LockCommands)
def command() -> None:
    """Make, check and edit the lockfile."""
