"""What the real lists get wrong by habit, and what is made of it. Pure.

Rules as data where they go by names: which models answer no conversation though the registry says "chat", which names
are previews, which stand for nothing. Rules over a whole list: limits the wrong way round, one model twice by the case
of its name, one alias of two models. Found in the lists up to August 2026; each rule says where.
"""

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache

import msgspec

from llmring.refs import ModelRef
from llmring.registry.catalog import ModelFacts
from llmring.registry.faults import Fault


class NotChat(msgspec.Struct, frozen=True):
    """Models whose name holds `pattern`, a regular expression, answer no conversation; `why` completes "it ...".

    `provider` None: at every provider. The end of a word in a name is a hyphen, a digit or the name's end.
    """

    pattern: str
    why: str
    provider: str | None = None


NOT_CHAT = (
    NotChat(r"embed", "turns text into vectors"),
    NotChat(r"rerank", "ranks documents"),
    NotChat(r"moderation", "judges text, and writes none"),
    # https://developers.openai.com/api/docs/models/davinci-002: endpoint v1/completions only.
    NotChat(r"^(babbage|davinci|curie|ada)(-|$)", "completes text, by the API before chat", "openai"),
    NotChat(r"^gpt-3\.5-turbo-instruct", "completes text, by the API before chat", "openai"),
    NotChat(r"(^|-)tts(-|$)", "speaks a text"),
    NotChat(r"whisper|transcribe", "writes down speech"),
    NotChat(r"realtime|(^|-)live(-|$)|native-audio", "talks over a live connection, not by request"),
    # https://developers.openai.com/api/docs/guides/audio: these want sound in the question or in the answer.
    NotChat(r"^(gpt-audio|gpt-.*-audio)(-|$)", "wants sound in the question or the answer", "openai"),
    NotChat(r"(^|-)image(-|$)|^dall-e|^imagen", "makes images"),
    NotChat(r"^(sora|veo)(-|$)", "makes films"),
    # "Deep research models require at least one of 'web_search_preview', 'mcp', or 'file_search' tools." (error 400)
    NotChat(r"(^|-)deep-research(-|$)", "answers only with a search tool", "openai"),
    NotChat(r"-deprecated$", "stands for models that are gone"),
)

PLACEHOLDER = re.compile(r"-deprecated$")
"""Names of no model: `claude-3-5-sonnet-deprecated`, without limits and inactive (anthropic from version 4)."""

_PREVIEW = re.compile(r"(^|-)(preview|exp|experimental|beta|alpha)(-|\d|$)")


def why_not_chat(ref: ModelRef, endpoint: str | None) -> str | None:
    """Why a model answers no plain conversation, to complete "it ..."; None: it does, for all that its name says."""
    if endpoint == "embeddings":
        return "turns text into vectors"
    name = ref.model.lower()
    rules, pattern = _rules(ref.provider)
    return next(rule.why for rule in rules if re.search(rule.pattern, name)) if pattern.search(name) else None


@lru_cache(maxsize=64)
def _rules(provider: str) -> tuple[tuple[NotChat, ...], re.Pattern[str]]:
    """A provider's rules, and one pattern for all of them, as most models fall under none."""
    rules = tuple(rule for rule in NOT_CHAT if rule.provider in (None, provider))
    return rules, re.compile("|".join(f"(?:{rule.pattern})" for rule in rules))


def is_preview(name: str) -> bool:
    """Whether a model's name says that it may change or go at any time."""
    return _PREVIEW.search(name.lower()) is not None


def mend(models: Sequence[ModelFacts]) -> tuple[tuple[ModelFacts, ...], tuple[Fault, ...]]:
    """The models of one list with what is surely wrong put right, and the anomalies of the list as a whole.

    No entry is left out: a duplicate by case stays for who asks for all, and `Catalog.get` answers for it with the
    lower-case entry.
    """
    by_name = {facts.ref.model: facts for facts in models}
    mended: list[ModelFacts] = []
    faults: list[Fault] = []
    for facts in models:
        right, fault = _limits(facts, by_name)
        mended.append(right)
        if fault is not None:
            faults.append(fault)
    faults.extend(_by_case(by_name))
    faults.extend(_aliases(models, by_name))
    return tuple(mended), tuple(faults)


def _limits(facts: ModelFacts, by_name: dict[str, ModelFacts]) -> tuple[ModelFacts, Fault | None]:
    """Limits the wrong way round: no model writes more than it reads. `gpt-5-pro-2025-10-06`: 128000 in, 272000 out.

    Turned only when another entry for the same model (one whose name this one has as its alias, or the other way
    round) has the very same numbers the right way; otherwise there is no telling which of them is wrong.
    """
    most_in, most_out = facts.max_input_tokens, facts.max_output_tokens
    if most_in is None or most_out is None or most_out <= most_in:
        return facts, None
    numbers = f"{most_in} in and {most_out} out"
    for twin in _twins(facts, by_name):
        if (twin.max_input_tokens, twin.max_output_tokens) == (most_out, most_in):
            turned = msgspec.structs.replace(facts, max_input_tokens=most_out, max_output_tokens=most_in)
            what = f"{numbers} are the wrong way round: {twin.ref.model}, the same model, has them the other way"
            return turned, _swapped(facts, f"{what}; turned")
    return facts, _swapped(facts, f"{numbers} look the wrong way round; kept, as nothing proves it")


def _swapped(facts: ModelFacts, what: str) -> Fault:
    return Fault(model=facts.ref.model, field="max_input_tokens", kind="swapped_limits", what=what)


def _twins(facts: ModelFacts, by_name: dict[str, ModelFacts]) -> Iterable[ModelFacts]:
    for name, other in by_name.items():
        if name in facts.model_aliases or (facts.ref.model in other.model_aliases):
            yield other


def _by_case(by_name: dict[str, ModelFacts]) -> Iterable[Fault]:
    for name in by_name:
        lower = name.lower()
        if lower != name and lower in by_name:
            what = f"the same as {lower}, which stands in for it"
            yield Fault(model=name, kind="duplicate_by_case", what=what)


def _aliases(models: Sequence[ModelFacts], by_name: dict[str, ModelFacts]) -> Iterable[Fault]:
    claims: dict[str, list[str]] = {}
    for facts in models:
        for alias in facts.model_aliases:
            claims.setdefault(alias, []).append(facts.ref.model)
    for alias, names in claims.items():
        if len(names) > 1:
            what = f"{alias!r} is claimed by {', '.join(sorted(names))}"
            yield Fault(model=names[0], field="model_aliases", kind="alias_claimed_twice", what=what)
        if alias in by_name:
            what = f"{alias!r} is a model of the list too, which comes first"
            yield Fault(model=names[0], field="model_aliases", kind="alias_is_a_model", what=what)
