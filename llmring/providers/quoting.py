"""What a provider's words quote of a request, taken out of them: keys, prompts, tool arguments, files. Pure.

Providers repeat what they refuse: "Incorrect API key provided: sk-ab***yz", "Invalid value: 'the whole prompt'". Their
message goes into errors, logs and journals, so it leaves the worker without anything that was sent: whatever it has in
common with a secret or with what the request says, wherever that stands and however it is escaped, for letters and
digits alone are compared. What it says of the request's form, its parameters and its model, stays.
"""

import re
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from urllib.parse import unquote

import msgspec

from llmring.errors import ProviderError

MASK = "[masked]"

CONTENT_CHARACTERS = 12
SECRET_CHARACTERS = 6
"""Letters and digits that a message and what was sent have in common by chance, and one more."""

SHORTEST = 3
"""Shorter ones than that are in every sentence."""

_LARGE = 1_000_000
_STRIDE = 4
"""In a request of so many characters, one place in so many is looked at."""

_FORM = frozenset(
    {
        "custom_id",
        "fileUri",
        "file_id",
        "file_uri",
        "id",
        "key",
        "media_type",
        "method",
        "mimeType",
        "mime_type",
        "model",
        "role",
        "type",
        "url",
    }
)
"""Fields whose text is no content: a message may name it. So may be a file's id, by which it is found to be gone."""

_SAID = frozenset({"content", "text", "input", "prompt", "arguments", "instructions", "system", "data", "user"})
"""Fields whose text is content however short it is."""

_APART = re.compile(r"[\W_]+")
_AS_IT_IS = re.compile(r".", re.DOTALL)
_ESCAPED = re.compile(r"""(?:%[0-9A-Fa-f]{2})+|\\u[0-9A-Fa-f]{4}|\\[abfnrtv0'"\\/]|.""", re.DOTALL)
"""What a message may be read as, piece by piece: itself, or text that was escaped for a URL, for JSON or by Python."""


class Sent(msgspec.Struct, frozen=True):
    """What was sent: secrets, such as keys and the values of a lockfile's headers; all texts of the request's body; and
    those of them that are so short that only a whole word of a message can be one."""

    secrets: tuple[str, ...] = ()
    texts: tuple[str, ...] = ()
    words: tuple[str, ...] = ()


def sent(secrets: Iterable[str], body: object) -> Sent:
    """Of a call with these secrets in its headers; `body` is bytes, or nothing that was read."""
    whole = [secret for secret in secrets if len(secret) >= SHORTEST]
    if not isinstance(body, bytes) or not body:
        return Sent(tuple(whole))
    found = list(_read(body))
    texts = tuple(text for _, text in found if len(text) >= CONTENT_CHARACTERS)
    words = tuple(text for name, text in found if name in _SAID and SHORTEST <= len(text) <= 2 * CONTENT_CHARACTERS)
    return Sent(tuple(whole), texts, words)


def said(secrets: Iterable[str], contents: object) -> Sent:
    """As `sent`, of values that were not spelled for any provider."""
    return sent(secrets, msgspec.json.encode(contents, enc_hook=repr))


def _read(body: bytes) -> Iterator[tuple[str, str]]:
    try:
        yield from _texts(msgspec.json.decode(body), "")
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        # Rows of a batch among the parts of an upload, or a file.
        lines = body.splitlines() if b"\n" in body else []
        for line in lines:
            yield from _read(line)
        if not lines:
            yield "", body.decode(errors="replace")


def _texts(value: Any, name: str) -> Iterator[tuple[str, str]]:
    """Every text of JSON data, but for fields of the form, with the name of the field that it is in."""
    if isinstance(value, str):
        if name not in _FORM:
            yield name, value
    elif isinstance(value, dict):
        for key, each in value.items():
            yield from _texts(each, key)
    elif isinstance(value, list):
        for each in value:
            yield from _texts(each, name)


@contextmanager
def concealing(secrets: Iterable[str], body: object = None) -> Generator[None]:
    """A block whose errors quote nothing of a call with these secrets and this body."""
    try:
        yield
    except ProviderError as error:
        conceal(error, sent(secrets, body))
        raise


def conceal(error: ProviderError, what: Sent) -> None:
    """Take out of an error what it quotes of what was sent."""
    error.message = concealed(error.message, what)
    error.args = (error.message,)
    if error.code is not None:
        error.code = concealed(error.code, what)
    if error.request_id is not None:
        error.request_id = concealed(error.request_id, what)
    behind = error.__cause__ or error.__context__
    if behind is not None and concealed(repr(behind), what) != repr(behind):
        # A network library quotes a line of a reply that is no HTTP.
        error.__cause__ = error.__context__ = None


def concealed(message: str, what: Sent) -> str:
    """A message without what it quotes."""
    for word in (*what.secrets, *what.words):
        message = re.sub(rf"(?<!\w){re.escape(word)}(?!\w)", MASK, message)
    for texts, least in ((what.secrets, SECRET_CHARACTERS), (what.texts, CONTENT_CHARACTERS)):
        for pieces in (_AS_IT_IS, _ESCAPED):
            message = _without(message, texts, least, pieces)
    return message


def _without(message: str, texts: Sequence[str], least: int, pieces: re.Pattern[str]) -> str:
    """A message without the stretches of at least so many letters and digits that it shares with one of `texts`."""
    if not texts:
        return message
    read = [
        (character.lower()[0], piece.span())
        for piece in pieces.finditer(message)
        for character in _unescaped(piece[0])
        if _APART.match(character) is None
    ]
    plain, places = "".join(character for character, _ in read), [place for _, place in read]
    # The one letter that becomes two when it is made small.
    blob = "\0".join(_APART.sub("", text).replace("\u0130", "i").lower() for text in texts)
    for first, last in reversed(_shared(plain, blob, least)):
        message = message[: places[first][0]] + MASK + message[places[last - 1][1] :]
    return message


def _shared(plain: str, blob: str, least: int) -> list[tuple[int, int]]:
    """Where `plain` has stretches of `blob`, from and up to which place."""
    stride = 1 if len(blob) < _LARGE else _STRIDE
    found: list[tuple[int, int]] = []
    at = 0
    while at + least <= len(plain):
        end = at + least
        if plain[at:end] not in blob:
            at += stride
            continue
        while end < len(plain) and plain[at : end + 1] in blob:
            end += 1
        before = found[-1][1] if found else 0
        while at > before and plain[at - 1 : end] in blob:
            at -= 1
        found.append((at, end))
        at = end
    return found


def _unescaped(piece: str) -> str:
    """The text that a piece stands for; white space for an escape that is none of a letter."""
    if len(piece) == 1:
        return piece
    if piece[0] == "%":
        return unquote(piece)
    return chr(int(piece[-4:], 16)) if piece[1] == "u" else " "
