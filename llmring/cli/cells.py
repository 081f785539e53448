"""What the cells of a table say of a call: texts, where an option may be a number, a list or an object. Pure."""

from collections.abc import Mapping
from typing import Any

import msgspec

from llmring.errors import InvalidRequest

_TEXT = frozenset({"prompt", "system", "service_tier", "user", "id"})
"""What is in such a cell is meant as it stands."""

_JSON = frozenset({"messages", "tools", "metadata", "extra_params"})

_EITHER: Mapping[str, type | tuple[type, ...]] = {
    "stop": list,
    "tool_choice": dict,
    "response_format": dict,
    "cache": (dict, bool),
}
"""Text, unless it is JSON of this type: a stop may well begin with a bracket."""


def plain(cells: Mapping[str, Any]) -> dict[str, Any]:
    """The cells with their JSON read; numbers stay text, for whoever converts them. Blank ones are left out, but for
    texts. Raises InvalidRequest that names a column."""
    return {
        name: _value(name, cell) if isinstance(cell, str) and name not in _TEXT else cell
        for name, cell in cells.items()
        if name in _TEXT or not isinstance(cell, str) or cell.strip()
    }


def _value(name: str, cell: str) -> Any:
    if name in _JSON:
        try:
            return msgspec.json.decode(cell)
        except msgspec.DecodeError as error:
            raise InvalidRequest(f"column {name!r} takes JSON: {error}") from error
    if name in _EITHER:
        return _either(cell, _EITHER[name])
    return cell.strip()


def _either(cell: str, kind: type | tuple[type, ...]) -> Any:
    # Spreadsheets write TRUE.
    spelled = cell.lower() if cell.lower() in ("true", "false") else cell
    try:
        decoded = msgspec.json.decode(spelled)
    except msgspec.DecodeError:
        return cell
    return decoded if isinstance(decoded, kind) else cell
