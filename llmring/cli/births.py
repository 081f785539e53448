"""When a file was made, where its file system remembers that. Linux has told since 4.11, Python does not ask."""

import ctypes
import os
import struct
from datetime import UTC, datetime
from pathlib import Path

_AT_FDCWD = -100
_STATX_BTIME = 0x800
_STATX_BYTES = 256
_BTIME_OFFSET = 80
"""Of struct statx, which is the same on every machine: statx(2), linux/stat.h."""


def born_at(path: Path) -> datetime | None:
    """When the file at `path` was made; None where that cannot be told."""
    try:
        seconds = getattr(path.stat(), "st_birthtime", None)
        if seconds is None:
            seconds = _statx_birth(path)
    except (OSError, AttributeError, TypeError):
        # A C library without statx, or a system that has no C library by that name.
        return None
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)


def _statx_birth(path: Path) -> float | None:
    buffer = ctypes.create_string_buffer(_STATX_BYTES)
    statx = ctypes.CDLL(None).statx
    if statx(_AT_FDCWD, os.fsencode(path), 0, _STATX_BTIME, buffer) != 0:
        return None
    (mask,) = struct.unpack_from("=I", buffer, 0)
    seconds, nanoseconds = struct.unpack_from("=qI", buffer, _BTIME_OFFSET)
    return float(seconds + nanoseconds / 1e9) if mask & _STATX_BTIME else None
