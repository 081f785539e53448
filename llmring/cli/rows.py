"""Rows of a JSONL file: a line in, a request out; an answer in, a line out.

A row is a JSON string (the prompt), or an object with `prompt` or `messages`, and the options of a call where they
differ from those of the command line. With a template it is an object whose keys fill that, and nothing else. `id`
comes back with the answer; one key may name the row in a journal; those that are not known are left alone, but for a
word about those that are nearly an option's.
"""

from array import array
from bisect import bisect_right
from codecs import BOM_UTF8
from typing import Any, Self

import msgspec

from llmring.chat import ChatRequest, Effort, JSONObject
from llmring.cli.cells import plain
from llmring.cli.lines import Lines
from llmring.cli.misspelt import Misspelt
from llmring.cli.records import Columns, Unreadable
from llmring.cli.spelling import cost_json, error_json, extras_json, usage_json
from llmring.cli.template import Template
from llmring.errors import InvalidRequest
from llmring.prompts import ChatOptions, to_request
from llmring.router.map.rows import Row


class _OptionsIn(msgspec.Struct):
    """The options of a call, as ChatOptions has them. None: as on the command line."""

    system: str | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    max_tokens: int | None = None
    stop: str | list[str] | None = None
    seed: int | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    tools: list[JSONObject] | None = None
    tool_choice: str | JSONObject | None = None
    parallel_tool_calls: bool | None = None
    response_format: str | JSONObject | None = None
    reasoning_effort: Effort | None = None
    reasoning_tokens: int | None = None
    show_reasoning: bool | None = None
    cache: bool | str | JSONObject | None = None
    service_tier: str | None = None
    metadata: dict[str, str] | None = None
    user: str | None = None
    timeout: float | None = None
    strict_params: bool | None = None
    extra_params: JSONObject | None = None


class _RowIn(_OptionsIn):
    """One object of the input file."""

    prompt: str | None = None
    messages: list[JSONObject] | None = None
    id: Any = msgspec.UNSET


def columns_read(template: Template | None, key: str | None = None) -> Columns:
    """Which columns of a table make rows: with a template its own, else a prompt or messages and the options; and the
    one that names them."""
    keys = (key,) if key is not None else ()
    named = tuple((name,) for name in keys)
    if template is None:
        return Columns(read=frozenset((*_RowIn.__struct_fields__, *keys)), needed=(("prompt", "messages"), *named))
    needed = tuple((name,) for name in template.names)
    return Columns(read=frozenset((*template.names, "id", *keys)), needed=(*needed, *named))


class Mark(msgspec.Struct, frozen=True):
    """Where an input came from: its line or row, counted from 1, and its own id, UNSET where it has none."""

    line: int
    id: Any = msgspec.UNSET


class Rows:
    """The inputs of a map, read one by one. `marks` holds those that are not written yet, by index; `name` is what the
    column `key` says of the one that was read last."""

    def __init__(
        self, lines: Lines, alias: str, options: ChatOptions, template: Template | None = None, key: str | None = None
    ) -> None:
        self.marks: dict[int, Mark] = {}
        self.name = ""
        self._key = key
        self._lines = lines
        self._alias = alias
        self._options = options
        self._template = template
        self._number = 0
        self._index = 0
        self._blank = array("q")
        self._misspelt = Misspelt(_RowIn.__struct_fields__) if template is None else None
        if self._misspelt is not None:
            self._misspelt.look(set(lines.names) - {key}, "the columns of INPUT")

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> ChatRequest | InvalidRequest:
        while line := await self._lines.next_line():
            self._number += 1
            if isinstance(line, Unreadable) or line.strip():
                request, self.marks[self._index] = self._read(line, self._number)
                self._index += 1
                return request
            self._blank.append(self._index)
        raise StopAsyncIteration

    def place(self, index: int) -> str:
        """Where the row of this index stands, which was read: "line 7"."""
        return f"{self._lines.noun} {index + 1 + bisect_right(self._blank, index)}"

    def _read(self, line: bytes | Unreadable, number: int) -> tuple[ChatRequest | InvalidRequest, Mark]:
        mark = Mark(number)
        place = f"{self._lines.noun} {number}"
        if isinstance(line, Unreadable):
            return InvalidRequest(f"{place}: {line.problem}"), Mark(number, line.id)
        try:
            decoded = msgspec.json.decode(line.removeprefix(BOM_UTF8) if number == 1 else line)
            if isinstance(decoded, dict):
                mark = Mark(number, decoded.get("id", msgspec.UNSET))
                self._note_name(decoded)
                if self._template is not None:
                    return to_request(self._alias, self._template.fill(decoded), **self._options), mark
            elif self._template is not None:
                raise InvalidRequest("with --prompt a row is an object, whose keys are the columns")
            elif self._key is not None:
                raise InvalidRequest(f"with --key a row is an object that has {self._key!r}")
            given = self._given(decoded, place)
            return self._request(_RowIn(prompt=given) if isinstance(given, str) else given), mark
        except msgspec.DecodeError as error:
            return InvalidRequest(f"{place}: {error}"), mark
        except (InvalidRequest, UnicodeDecodeError) as error:
            return InvalidRequest(f"{place}: {error}"), mark
        except RecursionError:
            return InvalidRequest(f"{place}: nested too deeply"), mark

    def _given(self, decoded: Any, place: str) -> str | _RowIn:
        if self._lines.names:
            # What a column is called was looked at before.
            return msgspec.convert(plain(decoded), _RowIn, strict=False)
        if self._misspelt is not None and isinstance(decoded, dict):
            self._misspelt.look(decoded.keys() - {self._key}, place)
        return msgspec.convert(decoded, str | _RowIn)

    def _note_name(self, decoded: dict[str, Any]) -> None:
        if self._key is None:
            return
        name = decoded.get(self._key)
        if isinstance(name, bool) or not isinstance(name, str | int):
            raise InvalidRequest(f"--key: {self._key!r} must be text or a whole number")
        self.name = str(name)

    def _request(self, given: _RowIn) -> ChatRequest:
        if (given.prompt is None) == (given.messages is None):
            raise InvalidRequest("a row has either a prompt or messages")
        own: dict[str, Any] = {name: getattr(given, name) for name in _OptionsIn.__struct_fields__}
        set_here: ChatOptions = {  # type: ignore[assignment]
            name: value for name, value in own.items() if value is not None
        }
        options: ChatOptions = {**self._options, **set_here}
        return to_request(self._alias, given.prompt if given.prompt is not None else given.messages or [], **options)


def written(row: Row, mark: Mark) -> bytes:
    """The line for one finished row."""
    spelled: dict[str, Any] = {"row": mark.line}
    if mark.id is not msgspec.UNSET:
        spelled["id"] = mark.id
    if row.response is None:
        spelled["error"] = error_json(row.error) if row.error is not None else None
    else:
        response = row.response
        spelled["content"] = response.content
        spelled["model"] = str(response.model)
        spelled["finish_reason"] = response.finish_reason
        spelled |= extras_json(response)
        if row.duplicate_of is None:
            spelled["usage"] = usage_json(response.usage)
            spelled |= cost_json(response.cost)
    if row.duplicate_of is not None:
        # What it used and cost stands in the row that was asked: a sum over all rows counts it once.
        spelled["duplicate"] = True
    return msgspec.json.encode(spelled) + b"\n"
