"""Newline-delimited JSON: bytes in, lines out, in any split. Pure.

A line ends in LF, or CRLF (https://github.com/ndjson/ndjson-spec); blank lines are dropped, and so is the carriage
return, which is white space to JSON. The last line counts without its end, too. Reading a line is the codec's part.
"""

from llmring.errors import BadReply

MAX_LINE_BYTES = 4 * 1024 * 1024
"""One line may hold this much, so that garbage costs bounded memory. A whole answer of 1M tokens is about 4 MB."""


class LineDecoder:
    """A stream of lines being read. Each byte is looked at a fixed number of times, also when they come one by one."""

    def __init__(self, max_line_bytes: int = MAX_LINE_BYTES) -> None:
        self._max_line_bytes = max_line_bytes
        self._rest = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        """Take the next bytes. Raises BadReply when one line outgrows the bound."""
        *ended, rest = data.split(b"\n")
        if ended and self._rest:
            self._check(len(self._rest) + len(ended[0]))
            ended[0] = bytes(self._rest) + ended[0]
            self._rest.clear()
        self._check(max(map(len, ended), default=0))
        self._check(len(self._rest) + len(rest))
        self._rest += rest
        return [line for line in ended if line and not line.isspace()]

    def close(self) -> list[bytes]:
        """The stream has ended: the line whose end is missing, if there is one."""
        return self.feed(b"\n")

    def _check(self, size: int) -> None:
        if size > self._max_line_bytes:
            raise BadReply(f"one line of the stream is larger than {self._max_line_bytes} bytes")
