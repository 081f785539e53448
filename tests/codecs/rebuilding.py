"""Rebuilding recorded requests from our own types: what every format shares."""

from typing import Any

SETTINGS = {"model", "messages", "temperature", "top_p", "stream", "tools", "tool_choice", "max_tokens"}


class NotOurs(Exception):
    """The request uses what our types do not have."""


def joined(content: Any) -> Any:
    return "".join(part["text"] for part in content) if isinstance(content, list) else content
