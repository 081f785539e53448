"""Time zones by their names, with their summer time. Pure, but for the system's files of them."""

from datetime import UTC, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from llmring.errors import ConfigError


def zone(name: str | None) -> tzinfo:
    """A time zone by its name, such as Europe/Vienna; UTC of None. Raises ConfigError."""
    if name is None or name.upper() == "UTC":
        return UTC
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ConfigError(
            f"there is no time zone {name!r}: name one such as Europe/Vienna (where the system knows none: pip install "
            "tzdata)"
        ) from error
