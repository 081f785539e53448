"""The line that every measurement begins with: when and on what it was taken."""

import os
import platform
from datetime import UTC, datetime


def headline(what: str) -> str:
    """`what`, the date, Python, and the number of cores."""
    day = datetime.now(UTC).date()
    return f"{what} · {day} · Python {platform.python_version()} · {platform.machine()}, {os.cpu_count()} cores"
