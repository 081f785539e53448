"""A reply that is no answer may have used tokens all the same: its error says how many."""

import pytest

from llmring.codecs.codec import HttpReply
from llmring.errors import ProviderError
from llmring.usage import Usage
from tests.codecs.test_contract import FORMATS

REPLIES = {
    "openai": (
        b'{"choices":[],"usage":{"prompt_tokens":10,"completion_tokens":3}}',
        b'{"choices":[{"message":{"tool_calls":[{"function":{}}]}}],"usage":{"prompt_tokens":10,"completion_tokens":3}}',
    ),
    "responses": (
        b'{"status":"failed","error":{"code":"server_error"},"usage":{"input_tokens":10,"output_tokens":3}}',
        b'{"output":[{"type":"function_call"}],"usage":{"input_tokens":10,"output_tokens":3}}',
    ),
    "anthropic": (b'{"type":"message","usage":{"input_tokens":10,"output_tokens":3}}',),
    "google": (b'{"usageMetadata":{"promptTokenCount":10,"candidatesTokenCount":3}}',),
}


@pytest.mark.parametrize(("name", "body"), [(name, body) for name, bodies in REPLIES.items() for body in bodies])
def test_a_reply_that_is_no_answer_says_what_it_used(name: str, body: bytes) -> None:
    with pytest.raises(ProviderError) as caught:
        FORMATS[name].codec.decode(HttpReply(status=200, headers={}, body=body))
    assert caught.value.usage == Usage(input_tokens=10, output_tokens=3)


def test_a_stream_of_responses_that_failed_knows_what_was_told_and_at_least_what_was_seen() -> None:
    stream = FORMATS["responses"].codec.open_stream({})
    text = "word" * 20
    stream.feed(b'data: {"type":"response.output_text.delta","delta":"%b"}\n\n' % text.encode())
    assert stream.partial().usage == Usage(output_tokens=20)
    end = b'data: {"type":"response.failed","response":{"usage":{"input_tokens":10,"output_tokens":%d}}}\n\n'
    for told, known in ((3, 20), (30, 30)):
        with pytest.raises(ProviderError):
            stream.feed(end % told)
        assert stream.partial().usage == Usage(input_tokens=10, output_tokens=known)
