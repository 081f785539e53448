"""What holds for batches of every provider: keys, bounds, and answers that are the same as online."""

from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmring.codecs.batch import ROW_BYTES, Batch, BatchCodec, BatchRow, divide, row_bytes
from llmring.codecs.codec import Codec, FileBody, HttpCall, HttpReply
from llmring.codecs.openai.batches import OpenAIBatches
from llmring.codecs.openai.chat import OpenAICodec
from llmring.errors import InvalidRequest, ProviderError
from llmring.providers.wires import WIRES
from tests.codecs.batching import FORMATS, IN_FILE, OVER, batch, call, keys, lines, read_results, wrapped
from tests.codecs.payloads import SPLITS, load

every_format = pytest.mark.parametrize("form", FORMATS)
CHAT = OpenAICodec()


def test_the_three_that_have_an_api_for_batches_are_known_to_have_one() -> None:
    assert {kind for kind, wire in WIRES.items() if wire.batches is not None} == {"openai", "anthropic", "google"}


@every_format
def test_a_row_is_byte_for_byte_the_body_of_the_call_online(form: str) -> None:
    batches, chat = FORMATS[form]
    handed_in = batch(chat, "a", "b")
    first = batches.submit(handed_in)
    assert isinstance(first.body, bytes)
    for row in handed_in.rows:
        assert isinstance(row.call.body, bytes)
        assert first.body.count(row.call.body) == 1


@every_format
def test_bodies_over_several_lines_are_handed_in_on_one(form: str) -> None:
    batches, chat = FORMATS[form]
    online = call(chat, "two\r\nlines")
    assert isinstance(online.body, bytes)
    spread = msgspec.structs.replace(online, body=msgspec.json.format(online.body).replace(b"\n", b"\r\n"))
    straight, bent = (
        batches.submit(Batch(rows=(BatchRow(key="k", call=one),), tag="t")).body for one in (online, spread)
    )
    assert straight == bent


@every_format
@pytest.mark.parametrize("key", ["", "a b", "ü", "x" * 65, 'a"b', "a\n"])
def test_a_key_that_some_provider_refuses_is_refused_and_not_quoted(form: str, key: str) -> None:
    batches, chat = FORMATS[form]
    with pytest.raises(InvalidRequest, match=r"^row 2 of the batch: its key must be") as raised:
        batches.submit(batch(chat, "fine", key))
    assert not key or key not in str(raised.value)


@every_format
def test_what_no_batch_can_hold_is_refused_before_anything_is_sent(form: str) -> None:
    batches, chat = FORMATS[form]
    with pytest.raises(InvalidRequest, match="at least one row"):
        batches.submit(Batch(rows=(), tag="t"))
    with pytest.raises(InvalidRequest, match=r"^rows 1 and 3 of the batch have the same key$"):
        batches.submit(batch(chat, "same", "b", "same"))
    with pytest.raises(InvalidRequest, match="the tag of a batch"):
        batches.submit(batch(chat, "a", tag="no tag"))
    elsewhere = HttpCall(path="/elsewhere", body=b"{}")
    with pytest.raises(InvalidRequest, match="row 2 of the batch goes to another endpoint"):
        batches.submit(Batch(rows=(*batch(chat, "a").rows, BatchRow(key="b", call=elsewhere)), tag="t"))
    upload = HttpCall(path="/files", body=FileBody(path=Path("a"), name="a", media_type="text/plain"))
    with pytest.raises(InvalidRequest, match="not a request of a model"):
        batches.submit(Batch(rows=(BatchRow(key="a", call=upload),), tag="t"))


def test_too_much_for_one_batch_is_refused_and_divided() -> None:
    rows = batch(CHAT, *keys(5)).rows
    for codec in (OpenAIBatches(most_rows=2), OpenAIBatches(most_bytes=2 * row_bytes(rows[0]) + 1)):
        with pytest.raises(InvalidRequest, match="divide it"):
            codec.submit(Batch(rows=rows, tag="t"))
        divided = divide(rows, codec)
        assert [len(one) for one in divided] == [2, 2, 1] and sum(divided, ()) == rows
        for one in divided:
            codec.submit(Batch(rows=one, tag="t"))
    assert divide((), OpenAIBatches()) == []


def test_a_row_too_large_for_any_batch_is_alone_and_refused_there() -> None:
    codec, rows = OpenAIBatches(most_bytes=ROW_BYTES + 1000), batch(CHAT, "a", "b").rows
    large = BatchRow(key="large", call=call(CHAT, "x" * 2000))
    alone = divide((rows[0], large, rows[1]), codec)[1]
    assert alone == (large,)
    with pytest.raises(InvalidRequest, match="at most"):
        codec.submit(Batch(rows=alone, tag="t"))


@every_format
def test_what_a_row_adds_is_no_more_than_it_is_counted_for(form: str) -> None:
    batches, chat = FORMATS[form]
    one, two = batch(chat, "a" * 64), batch(chat, "a" * 64, "b" * 64)
    bodies = [batches.submit(each).body for each in (one, two)]
    sizes = [len(body) for body in bodies if isinstance(body, bytes)]
    assert sizes[1] - sizes[0] <= row_bytes(two.rows[1])


PAYLOADS = {"chat": "openai", "responses": "responses", "messages": "anthropic", "generate": "google"}


def _online(form: str, *, refused: bool) -> list[HttpReply]:
    """Replies that came online, each on one line and without its headers, which a batch does not keep."""
    whole = [payload for payload in load(PAYLOADS[form]) if not payload.name.startswith("stream_")]
    bodies = [(one.reply.status, one.reply.body) for one in whole if (one.reply.status >= 400) == refused]
    return [
        HttpReply(status=status, headers={}, body=msgspec.json.format(body, indent=-1))
        for status, body in bodies
        if body.lstrip().startswith(b"{") and _is_json(body)
    ]


def _is_json(data: bytes) -> bool:
    try:
        msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return False
    return True


@every_format
@pytest.mark.parametrize("size", SPLITS)
def test_answers_are_what_they_are_online_to_the_byte(form: str, size: int) -> None:
    batches, _ = FORMATS[form]
    answers = _online(form, refused=False)
    assert len(answers) >= 5
    for online in answers:
        assert read_results(batches.open_results(OVER, ["k"]), wrapped(form, "k", online), size) == {"k": online}


@pytest.mark.parametrize("form", ["chat", "responses", "messages"])
def test_refusals_are_the_errors_they_are_online(form: str) -> None:
    batches, chat = FORMATS[form]
    refusals = _online(form, refused=True)
    assert refusals
    for online in refusals:
        (outcome,) = read_results(batches.open_results(OVER, ["k"]), wrapped(form, "k", online)).values()
        got, wanted = chat.classify(outcome), chat.classify(online)
        assert (type(got), got.code, str(got)) == (type(wanted), wanted.code, str(wanted))


@every_format
def test_one_unreadable_result_does_not_take_the_others_with_it(form: str) -> None:
    batches, _ = FORMATS[form]
    good = {
        "custom_id": "k",
        "key": "k",
        "metadata": {"key": "k"},
        "response": {"status_code": 200, "body": {}},
        "result": {"type": "succeeded", "message": {}},
    }
    stranger = msgspec.json.decode(msgspec.json.encode(good).replace(b'"k"', b'"stranger"'))
    reader = batches.open_results(IN_FILE, ["k"])
    assert list(read_results(reader, b"<html>\n" + lines(stranger, 3, good))) == ["k"]
    assert reader.unread == 3


@every_format
@given(data=st.binary(max_size=80))
def test_any_bytes_raise_nothing_but_our_errors(form: str, data: bytes) -> None:
    batches, chat = FORMATS[form]
    value = data if _is_json(data) else b"null"
    holes = (
        data,
        b'{"id":"b","object":"batch","name":"batches/b","status":%b,"metadata":%b}' % (value, value),
        b'{"id":"b","status":"failed","errors":%b,"name":"b","metadata":{"state":"S_STATE_FAILED"},"error":%b}'
        % (value, value),
        b'{"data":%b,"operations":%b}' % (value, value),
        b'{"custom_id":"k","key":"k","response":%b,"result":%b,"error":%b}' % (value, value, value),
        b'{"name":"b","response":{"inlinedResponses":{"inlinedResponses":[%b]}}}' % value,
    )
    for body in holes:
        _read_everything(batches, chat, HttpReply(status=200, headers={}, body=body))


def _read_everything(batches: BatchCodec, chat: Codec, reply: HttpReply) -> None:
    attempts: tuple[Callable[[], object], ...] = (
        lambda: batches.read_status(reply),
        lambda: batches.read(reply, batch(chat, "k")),
        lambda: batches.read_found(reply, "t"),
        lambda: read_results(batches.open_results(OVER, ["k"]), reply.body),
        lambda: read_results(batches.open_results(IN_FILE, ["k"]), reply.body),
    )
    for attempt in attempts:
        try:
            attempt()
        except ProviderError as error:
            str(error)
