"""What we know of providers and models before any file is read: addresses, keys, charge rules, what models take. Data.

A provider that is not here needs no code: a `[providers.<name>]` table with `kind` and `base_url` in the lockfile.
"""

from collections.abc import Mapping

import msgspec

from llmring.chat import Effort
from llmring.codecs.capabilities import Control, Reasoning, Sampling, SchemaSupport
from llmring.lockfile.providers import Charges, Kind
from llmring.providers.images import Family
from llmring.providers.regime import Regime, Rule, complete, counting_cached

DEFAULT_MAX_IN_FLIGHT = 64
"""Connections to one provider where the lockfile does not say."""

PARALLEL: frozenset[Kind] = frozenset({"ollama"})
"""Whose limit is how many requests they work on at once, a few mostly, and which tell nobody: by default it is found
out."""

_TOTAL: Regime = {"tokens": Rule(input=True, output=True)}

REGIMES: Mapping[Kind, Regime] = {
    # OpenAI: the estimate at admission is kept, output is not deducted (735 of 735 recorded replies, 2026-08).
    "openai": {"tokens": Rule(input=True, settles=False)},
    "openai-responses": {"tokens": Rule(input=True, settles=False)},
    # Anthropic: cache reads are free on most models; max_tokens does not reduce the output limit (0 of 83 replies).
    "anthropic": {
        "tokens": Rule(input=True, output=True, cache_reads=False),
        "input": Rule(input=True, cache_reads=False),
        "output": Rule(output=True),
    },
    # Gemini: the limit is of input alone.
    "google": {"tokens": Rule(input=True), "input": Rule(input=True)},
    # Azure: the prompt and max_tokens, at admission.
    "azure": {"tokens": Rule(input=True, max_output=True, settles=False)},
    # Groq: what it has cached is free.
    "groq": {"tokens": Rule(input=True, output=True, cache_reads=False)},
}
"""Charge rules by kind; everybody else charges the sum of input and output."""

CHARGES: Mapping[Charges, Rule] = {
    "input": Rule(input=True),
    "input at admission": Rule(input=True, settles=False),
    "input+output": Rule(input=True, output=True),
    # Bedrock: input, cache reads and writes, and max_tokens are reserved, then settled
    # (https://docs.aws.amazon.com/bedrock/latest/userguide/quotas-token-burndown.html).
    "input+max_tokens": Rule(input=True, max_output=True),
    "input+max_tokens at admission": Rule(input=True, max_output=True, settles=False),
}
"""Charge rules by their words in the lockfile."""


def regime(kind: Kind, charges: Charges | None = None, cached_tokens_count: bool | None = None) -> Regime:
    """How a provider of `kind` charges, under what the lockfile says of it: a rule for every dimension of tokens."""
    known: Regime = REGIMES.get(kind, _TOTAL)
    if charges is not None:
        # Whatever the kind's rules for input and output alone are: they belong to the one that is replaced.
        known = {"tokens": msgspec.structs.replace(CHARGES[charges], cache_reads=known["tokens"].cache_reads)}
    whole = complete(known)
    return whole if cached_tokens_count is None else counting_cached(whole, cached_tokens_count)


BY_CHARACTERS: frozenset[Kind] = frozenset({"openai", "openai-responses", "azure"})
"""Whose limits count a quarter of the characters as tokens. Azure's: "an estimate based in part on the character
count" (https://learn.microsoft.com/azure/ai-services/openai/how-to/quota)."""

FAMILIES: Mapping[Kind, Family] = {
    "openai": "openai",
    "openai-responses": "openai",
    "azure": "openai",
    "anthropic": "anthropic",
    "google": "google",
}
"""Whose rule images and documents are counted by."""


def family(kind: Kind) -> Family:
    return FAMILIES.get(kind, "other")


class Known(msgspec.Struct, frozen=True, kw_only=True):
    """A provider by name. `key_variables` are tried in order; none: it takes no key. `base_url` None: everybody has
    an address of their own."""

    kind: Kind
    base_url: str | None
    key_variables: tuple[str, ...] = ()
    needs_key: bool = True


PROVIDERS: Mapping[str, Known] = {
    "openai": Known(kind="openai", base_url="https://api.openai.com/v1", key_variables=("OPENAI_API_KEY",)),
    "anthropic": Known(kind="anthropic", base_url="https://api.anthropic.com", key_variables=("ANTHROPIC_API_KEY",)),
    "google": Known(
        kind="google",
        base_url="https://generativelanguage.googleapis.com",
        key_variables=("GEMINI_API_KEY", "GOOGLE_API_KEY", "GOOGLE_GEMINI_API_KEY"),
    ),
    # Its cloud takes a key; a server on this machine takes none.
    "ollama": Known(
        kind="ollama",
        base_url="http://localhost:11434",
        key_variables=("OLLAMA_API_KEY",),
        needs_key=False,
    ),
    "azure": Known(kind="azure", base_url=None, key_variables=("AZURE_OPENAI_API_KEY",)),
    "groq": Known(kind="groq", base_url="https://api.groq.com/openai/v1", key_variables=("GROQ_API_KEY",)),
    "mistral": Known(kind="mistral", base_url="https://api.mistral.ai/v1", key_variables=("MISTRAL_API_KEY",)),
    "deepseek": Known(kind="deepseek", base_url="https://api.deepseek.com", key_variables=("DEEPSEEK_API_KEY",)),
    "openrouter": Known(
        kind="openrouter", base_url="https://openrouter.ai/api/v1", key_variables=("OPENROUTER_API_KEY",)
    ),
    "together": Known(kind="together", base_url="https://api.together.xyz/v1", key_variables=("TOGETHER_API_KEY",)),
    "xai": Known(kind="xai", base_url="https://api.x.ai/v1", key_variables=("XAI_API_KEY",)),
    "vllm": Known(kind="vllm", base_url="http://localhost:8000/v1", key_variables=("VLLM_API_KEY",), needs_key=False),
    "lmstudio": Known(kind="lmstudio", base_url="http://localhost:1234/v1", needs_key=False),
    "llamacpp": Known(
        kind="llamacpp", base_url="http://localhost:8080/v1", key_variables=("LLAMA_API_KEY",), needs_key=False
    ),
}

# What models take.


class Row(msgspec.Struct, frozen=True):
    """Models whose name begins like `pattern`, a regular expression. None: as the registry says."""

    pattern: str
    reasoning: Reasoning | None = None
    sampling: Sampling | None = None
    efforts: tuple[Effort, ...] | None = None
    controls: frozenset[Control] | None = None
    schema: SchemaSupport | None = None
    schema_with_tools: bool = True
    responses: bool = False
    refused: frozenset[str] = frozenset()
    least_reasoning_tokens: int = 0


_EFFORT: frozenset[Control] = frozenset({"effort"})
_BUDGET: frozenset[Control] = frozenset({"budget"})
_BOTH = _EFFORT | _BUDGET
_STOP = frozenset({"stop"})

_LOW_TO_HIGH: tuple[Effort, ...] = ("low", "medium", "high")
_MINIMAL_TO_HIGH: tuple[Effort, ...] = ("minimal", *_LOW_TO_HIGH)
_NONE_TO_XHIGH: tuple[Effort, ...] = ("none", *_LOW_TO_HIGH, "xhigh")

# OpenAI. `responses`: function tools with reasoning are refused on chat completions from gpt-5.4 on, and encrypted
# reasoning can only be replayed on Responses; so every model that reasons is asked there.
_OPENAI = (
    Row(r"o1-(?:mini|preview)", "always", "refused", (), _EFFORT, "prompt", refused=_STOP),
    Row(r"o[134]", "always", "refused", _LOW_TO_HIGH, _EFFORT, "native", responses=True, refused=_STOP),
    Row(r"(?:gpt-4o|gpt-4\.1|gpt-4\.5|chatgpt-4o)", "never", "taken", schema="native"),
    Row(r"gpt-5-chat", "never", "taken", schema="json"),
    Row(r"(?:gpt-4|gpt-3|davinci|babbage|ft:gpt-[34])", "never", "taken", schema="json"),
    Row(r"gpt-5\.\d+-chat", "always", "refused", ("medium",), _EFFORT, "native", responses=True, refused=_STOP),
    Row(
        r"gpt-5(?:\.\d+)?-(?:pro|codex)",
        "always",
        "refused",
        (*_LOW_TO_HIGH, "xhigh"),
        _EFFORT,
        "native",
        responses=True,
        refused=_STOP,
    ),
    Row(
        r"gpt-5(?:-|$)",
        "always",
        "refused",
        _MINIMAL_TO_HIGH,
        _EFFORT,
        "native",
        responses=True,
        refused=_STOP,
    ),
    Row(
        r"gpt-5\.[1-4]",
        "optional",
        "taken without reasoning",
        _NONE_TO_XHIGH,
        _EFFORT,
        "native",
        responses=True,
    ),
    Row(
        r"(?:gpt-[5-9]|gpt-\d\d|codex)",
        "default",
        "taken without reasoning",
        _NONE_TO_XHIGH,
        _EFFORT,
        "native",
        responses=True,
        refused=_STOP,
    ),
)

_ANTHROPIC = (
    Row(r"claude-(?:[12]|instant|3-(?:opus|haiku|sonnet|5))", "never", "taken", schema="tool"),
    Row(
        r"claude-(?:3-7|opus-4-0|opus-4-2025|opus-4$|sonnet-4-0|sonnet-4-2025|sonnet-4$)",
        "optional",
        "taken without reasoning",
        controls=_BUDGET,
        schema="tool",
        least_reasoning_tokens=1024,
    ),
    Row(
        r"claude-(?:opus|sonnet|haiku)-4-[0-5]",
        "optional",
        "taken without reasoning",
        controls=_BUDGET,
        schema="native",
        least_reasoning_tokens=1024,
    ),
    Row(
        r"claude-(?:opus|sonnet)-4-6",
        "optional",
        "taken without reasoning",
        (*_LOW_TO_HIGH, "max"),
        _BOTH,
        "native",
        least_reasoning_tokens=1024,
    ),
    Row(r"claude-", "optional", "refused", (*_LOW_TO_HIGH, "xhigh", "max"), _EFFORT, "native"),
)

_GOOGLE = (
    Row(r"gemini-(?:1|2\.0)", "never", "taken", schema="native", schema_with_tools=False),
    Row(
        r"gemini-2\.5-pro",
        "always",
        "taken",
        controls=_BUDGET,
        schema="native",
        schema_with_tools=False,
        least_reasoning_tokens=128,
    ),
    Row(r"gemini-2\.5-flash-lite", "optional", "taken", controls=_BUDGET, schema="native", schema_with_tools=False),
    Row(r"gemini-2\.5", "default", "taken", controls=_BUDGET, schema="native", schema_with_tools=False),
    # 3.7 flash and the pros take no MINIMAL.
    Row(r"gemini-(?:\d+(?:\.\d+)?-pro|3\.7-flash)", "always", "taken", _LOW_TO_HIGH, _EFFORT, "native"),
    Row(r"gemini-", "always", "taken", _MINIMAL_TO_HIGH, _EFFORT, "native"),
)

_THINK: tuple[Effort, ...] = ("none", *_LOW_TO_HIGH, "max")

# Ollama takes words alone; its cloud takes no schemas.
_OLLAMA = (
    Row(r".*[:-]cloud$", efforts=_THINK, controls=_EFFORT, schema="prompt"),
    Row(r"", efforts=_THINK, controls=_EFFORT),
)

OVERLAY: Mapping[Kind, tuple[Row, ...]] = {
    "openai": _OPENAI,
    "openai-responses": _OPENAI,
    "azure": _OPENAI,
    "anthropic": _ANTHROPIC,
    "google": _GOOGLE,
    "ollama": _OLLAMA,
}
"""What the registry's flags get wrong: it says of gpt-5.5 that it does not reason, of o3 that it takes a temperature.

From tables that others check against the live APIs (2026-07, 2026-08), carried on to later names by the same rule. The
first row that matches the beginning of a model's name counts. Only providers that serve these models as their
makers do: a gateway has rules of its own."""
