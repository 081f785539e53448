"""What errors mean in Ollama's own API. Pure.

The body is `{"error": "text"}`, of a server and of its cloud alike, and so is the last line of a stream that failed: of
a stream's error only the text tells what it is. Sources: ollama's server/routes.go and server/sched.go (2026-08),
threads of its issue tracker and of its clients' for the cloud's words (2025-11 to 2026-09), and the recorded and
hand-written payload folders of the tests.
"""

import re

from llmring.codecs.codec import HttpReply
from llmring.codecs.faults import CONTEXT_TOO_LONG, Rules, judge, read_fault, text_rule, to_error
from llmring.errors import (
    AuthFailed,
    ContextTooLong,
    ModelGone,
    Overloaded,
    ProviderError,
    QuotaExhausted,
    ServerFault,
    Unsupported,
)

RULES = Rules(
    words={},
    texts=(
        CONTEXT_TOO_LONG,
        text_rule(
            (400, 500), r"exceed(?:s|ed)?\b.{0,60}\bcontext length|longer than the context length", ContextTooLong
        ),
        text_rule((400, 404), r"\bmodel\b.{0,300}\bnot found|invalid model name", ModelGone),
        text_rule((400,), r"does not support (?:chat|embeddings)|cannot run this remote model", ModelGone),
        # Older servers know fewer words, the oldest true and false alone.
        text_rule(
            (400,),
            r"\bthink value\b|\bthink must be|\w\.think of type",
            Unsupported,
            parameter="think",
        ),
        # The oldest know "json" alone.
        text_rule(
            (400, 500),
            r"\binvalid format\b|\binvalid JSON schema in format\b|\w\.format of type",
            Unsupported,
            parameter="format",
        ),
        text_rule((400, 500), r"\bimage input\b", Unsupported, parameter="messages"),
        text_rule((400,), r"does not support \w", Unsupported),
        # Of the cloud: a session's, an hour's, a week's or a month's, over all of its models.
        text_rule((429,), r"\busage limit", QuotaExhausted),
        text_rule((401,), r"^unauthorized$", AuthFailed),
        text_rule((503,), r"\bserver busy\b|maximum pending requests", Overloaded),
        # Other models take the memory; they leave after a while.
        text_rule((500,), r"requires more system memory|\bout of memory\b|\bnot enough memory\b", Overloaded),
        # The server ended it, for we were still there to read this.
        text_rule((499,), r"\brequest canceled\b", ServerFault),
    ),
    general_words={},
)

# What a model lacks, in the last word of '"llama3" does not support thinking', and the field that asks for it where
# that has another name.
_LACKS = re.compile(r"does not support (\w+)")
_FIELDS = {"thinking": "think", "vision": "messages", "image": "messages", "images": "messages"}


def classify(reply: HttpReply) -> ProviderError:
    """Which of our errors a reply is. Never raises."""
    fault = read_fault(reply)
    error = to_error(fault, judge(fault, RULES), None)
    if isinstance(error, Unsupported) and error.parameter is None:
        lacks = _LACKS.search(fault.text)
        error.parameter = _FIELDS.get(lacks[1], lacks[1]) if lacks is not None else None
    return error
