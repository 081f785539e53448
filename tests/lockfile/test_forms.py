"""Every form that lockfiles have been written in loads to the bindings that it describes; nothing is read as empty."""

import json
from decimal import Decimal
from pathlib import Path

import pytest

from llmring.errors import LockfileInvalid, UnknownProfile
from llmring.lockfile import Lockfile, parse_lockfile
from llmring.lockfile.constraints import CAPABILITIES, Defaults, Requirements
from llmring.lockfile.digest import lock_digest
from llmring.registry import catalog
from llmring.registry.published import parse_published

TOML = Path("llmring.lock")


def models(lockfile: Lockfile, alias: str, profile: str | None = None) -> list[str]:
    return [str(ref) for ref in lockfile.binding(alias, profile).models]


# The samples of the documents that llmring was founded on, named after them, in words of our own around them.

SKILL = """
version = "1.0"
default_profile = "default"

[profiles.default]
name = "default"

[[profiles.default.bindings]]
alias = "summarizer"
models = ["openai:gpt-4o-mini"]

[[profiles.default.bindings]]
alias = "analyzer"
models = [
    "anthropic:claude-sonnet-4-5-20250929",   # Primary
    "openai:gpt-4o",                  # Fallback
    "google:gemini-2.5-pro"           # Second fallback
]

[profiles.dev]
name = "dev"

[[profiles.dev.bindings]]
alias = "assistant"
models = ["openai:gpt-4o-mini"]  # Cheaper for development

[profiles.prod]
name = "prod"

[[profiles.prod.bindings]]
alias = "assistant"
models = ["anthropic:claude-sonnet-4-5-20250929"]  # Higher quality for production
"""


def test_seed_000_and_001_lockfile_structure() -> None:
    lockfile = parse_lockfile(SKILL, TOML)
    assert models(lockfile, "summarizer") == ["openai:gpt-4o-mini"]
    assert models(lockfile, "analyzer") == [
        "anthropic:claude-sonnet-4-5-20250929",
        "openai:gpt-4o",
        "google:gemini-2.5-pro",
    ]
    assert models(lockfile, "assistant", "dev") == ["openai:gpt-4o-mini"]
    assert models(lockfile, "assistant", "prod") == ["anthropic:claude-sonnet-4-5-20250929"]
    assert lockfile.forms == ("canonical",)


def test_seed_000_and_001_profiles_without_a_default_and_without_names() -> None:
    text = """
[profiles.us-west]
[[profiles.us-west.bindings]]
alias = "assistant"
models = ["openai:gpt-4o"]

[profiles.eu-central]
[[profiles.eu-central.bindings]]
alias = "assistant"
models = ["anthropic:claude-sonnet-4-5-20250929"]  # Better EU availability
"""
    lockfile = parse_lockfile(text, TOML)
    assert models(lockfile, "assistant", "us-west") == ["openai:gpt-4o"]
    assert models(lockfile, "assistant", "eu-central") == ["anthropic:claude-sonnet-4-5-20250929"]
    with pytest.raises(UnknownProfile, match="unknown profile 'default'"):
        lockfile.binding("assistant")


def test_seed_000_extends_with_an_override() -> None:
    text = """
version = "1.0"
default_profile = "default"

[extends]
packages = ["libA"]

[profiles.default]
name = "default"

# Override libA's summarizer to use a different model
[[profiles.default.bindings]]
alias = "libA:summarizer"
models = ["openai:gpt-4o-mini"]  # Consumer's choice
"""
    lockfile = parse_lockfile(text, TOML)
    assert lockfile.packages == ("libA",)
    assert models(lockfile, "libA:summarizer") == ["openai:gpt-4o-mini"]


def test_seed_000_a_librarys_own_lockfile() -> None:
    text = """
[[profiles.default.bindings]]
alias = "summarizer"  # Consumers use as mylib:summarizer
models = ["anthropic:claude-3-5-haiku-20241022"]
"""
    assert models(parse_lockfile(text, TOML), "summarizer") == ["anthropic:claude-3-5-haiku-20241022"]


SITE = """
# llmring.lock - your configuration
[aliases.default]
fast = "openai:gpt-4o-mini" # $0.15/1M input
smart = "anthropic:claude-3-5-sonnet-latest" # Better at reasoning
[aliases.prod]
fast = "openai:gpt-4o" # Faster in production
"""


def test_seed_002_alias_tables() -> None:
    lockfile = parse_lockfile(SITE, TOML)
    assert models(lockfile, "fast") == ["openai:gpt-4o-mini"]
    assert models(lockfile, "smart") == ["anthropic:claude-3-5-sonnet-latest"]
    assert models(lockfile, "fast", "prod") == ["openai:gpt-4o"]
    assert lockfile.forms == ("alias tables",)


DOCS = """
# Registry version pinning (optional)
# (IDs change as providers publish updates)
[registry_versions]
openai = 186
anthropic = 102

# Default bindings (arrays support automatic fallback)
[[bindings]]
alias = "summarizer"
models = ["anthropic:claude-3-5-haiku-20241022"]

[[bindings]]
alias = "advisor"
models = [
    "openai:gpt-5-2025-08-07",
    "google:gemini-2.5-pro",
    "anthropic:claude-opus-4-1-20250805"
]

[[bindings]]
alias = "balanced"
models = ["anthropic:claude-3-5-sonnet-20250219", "openai:gpt-4o"]
"""


def test_seed_003_top_level_bindings_and_versions() -> None:
    lockfile = parse_lockfile(DOCS, TOML)
    assert models(lockfile, "summarizer") == ["anthropic:claude-3-5-haiku-20241022"]
    assert models(lockfile, "advisor")[1:] == ["google:gemini-2.5-pro", "anthropic:claude-opus-4-1-20250805"]
    assert models(lockfile, "balanced") == ["anthropic:claude-3-5-sonnet-20250219", "openai:gpt-4o"]
    assert lockfile.profiles["default"].registry_versions == {"openai": 186, "anthropic": 102}
    assert lockfile.forms == ("top-level bindings",)


SPECIFICATION = """
version = "1.0"
default_profile = "default"

[[profiles.default.bindings]]
alias = "summarizer"
provider = "openai"
model = "gpt-4o-mini"
constraints = { temperature = 0.3, max_tokens = 500 }

[profiles.default.registry_versions]
openai = 3
anthropic = 2
"""


def test_seed_004_provider_and_model_with_constraints() -> None:
    lockfile = parse_lockfile(SPECIFICATION, TOML)
    assert models(lockfile, "summarizer") == ["openai:gpt-4o-mini"]
    assert lockfile.binding("summarizer").defaults == Defaults(temperature=0.3, max_tokens=500)
    assert lockfile.profiles["default"].registry_versions == {"openai": 3, "anthropic": 2}
    assert lockfile.forms == ("provider and model",)


def test_seed_000_and_001_profiles_of_environments() -> None:
    text = """
[profiles.dev]
name = "dev"
[[profiles.dev.bindings]]
alias = "assistant"
models = ["openai:gpt-4o-mini"]  # Cheap

[profiles.staging]
name = "staging"
[[profiles.staging.bindings]]
alias = "assistant"
models = ["anthropic:claude-3-5-sonnet"]  # Mid-tier

[profiles.prod]
name = "prod"
[[profiles.prod.bindings]]
alias = "assistant"
models = [
    "anthropic:claude-opus-4",    # Best quality
    "anthropic:claude-3-5-sonnet"  # Fallback
]
"""
    lockfile = parse_lockfile(text, TOML)
    assert models(lockfile, "assistant", "dev") == ["openai:gpt-4o-mini"]
    assert models(lockfile, "assistant", "staging") == ["anthropic:claude-3-5-sonnet"]
    assert models(lockfile, "assistant", "prod") == ["anthropic:claude-opus-4", "anthropic:claude-3-5-sonnet"]


def test_seed_000_and_001_fallbacks() -> None:
    text = """
[[profiles.default.bindings]]
alias = "balanced"
models = [
    "anthropic:claude-3-5-sonnet",   # Try first
    "openai:gpt-4o",                  # If first fails
    "google:gemini-1.5-pro"           # If both fail
]
"""
    assert models(parse_lockfile(text, TOML), "balanced") == [
        "anthropic:claude-3-5-sonnet",
        "openai:gpt-4o",
        "google:gemini-1.5-pro",
    ]


def test_seed_000_extending_alone_is_a_lockfile() -> None:
    lockfile = parse_lockfile('[extends]\npackages = ["mylib"]\n', TOML)
    assert (lockfile.packages, lockfile.notes) == (("mylib",), ())


def test_seed_004_the_registrys_sample_is_a_list() -> None:
    data = b"""{
  "provider": "openai",
  "version": 1,
  "updated_at": "2025-08-20T12:00:00Z",
  "models": {
    "openai:gpt-4": {
      "model_name": "gpt-4",
      "display_name": "GPT-4",
      "max_input_tokens": 8192,
      "max_output_tokens": 4096,
      "dollars_per_million_tokens_input": 30.00,
      "dollars_per_million_tokens_output": 60.00,
      "supports_vision": false,
      "supports_function_calling": true,
      "supports_json_mode": true,
      "is_active": true
    }
  }
}"""
    listed = parse_published(data, "the sample")
    (facts,) = listed.models
    assert (listed.provider, listed.version, str(listed.published)) == ("openai", 1, "2025-08-20")
    assert (str(facts.ref), facts.max_input_tokens, facts.max_output_tokens) == ("openai:gpt-4", 8192, 4096)
    assert facts.prices is not None
    assert (facts.prices.input, facts.prices.output) == (Decimal("30.00"), Decimal("60.00"))
    assert {"tools", "json"} <= facts.capabilities
    assert "vision" not in facts.capabilities


@pytest.mark.parametrize("text", [SKILL, SITE, DOCS, SPECIFICATION])
def test_seed_004_each_form_as_json_says_the_same(text: str) -> None:
    import tomllib

    lockfile = parse_lockfile(text, TOML)
    same = parse_lockfile(json.dumps(tomllib.loads(text)), Path("llmring.lock.json"))
    assert (same.profiles, same.forms) == (lockfile.profiles, lockfile.forms)
    assert lock_digest(same) == lock_digest(lockfile)


def test_forms_can_stand_side_by_side_but_not_bind_an_alias_twice() -> None:
    lockfile = parse_lockfile(SITE + DOCS, TOML)
    assert set(lockfile.profiles["default"].bindings) == {"fast", "smart", "summarizer", "advisor", "balanced"}
    assert lockfile.forms == ("alias tables", "top-level bindings")
    with pytest.raises(LockfileInvalid) as caught:
        parse_lockfile(SITE + DOCS.replace('"balanced"', '"fast"'), TOML)
    assert caught.value.problem == "alias 'fast' is bound twice in profile 'default' (first on line 4)"


def test_an_alias_directly_under_aliases_is_the_default_profiles() -> None:
    lockfile = parse_lockfile('default_profile = "main"\n[aliases]\nfast = ["openai:a", "anthropic:b"]', TOML)
    assert models(lockfile, "fast", "main") == ["openai:a", "anthropic:b"]


@pytest.mark.parametrize(
    ("text", "line", "problem"),
    [
        ("aliases = 5", 1, "aliases must be a table of tables"),
        ('[aliases.default]\nfast = "gpt-4o"', 2, "aliases.default.fast: models must be 'provider:model' or a list"),
        ("[aliases.default]\nfast = { model = 'a:b' }", 2, "aliases.default.fast must be 'provider:model' or a list"),
        ('[aliases.default]\n"a b" = "openai:gpt-4o"', 2, "'a b' is not an alias"),
        ('[aliases.default]\n"lib:x" = "openai:gpt-4o"', 2, "'lib' is not listed in extends.packages"),
        ("bindings = 1", 1, "bindings must be a list"),
        ('[[bindings]]\nalias = "x"\nprovider = "openai"', 1, "model is missing: models = [...], or both provider"),
        ('[[bindings]]\nalias = "x"\nprovider = "a"\nmodel = "b"\nmodels = "a:b"', 5, "one of them is too many"),
        ('[[bindings]]\nalias = "x"\nmodels = "a:*"', 3, "'a:*' is a pattern: `llmring bind` writes the models"),
        ('[[bindings]]\nalias = "x"\nmodels = "a:b"\nmodels_from = "a"', 4, "must be a list of patterns"),
        ('[[bindings]]\nalias = "x"\nmodels = "a:b"\npins = { "a:b" = 5 }', 4, "must be a digest, found 5"),
        ("[registry_versions]\nopenai = '3'", 2, "must be a version of the registry, found '3'"),
        ('[extends]\npackages = ["-x"]', 2, "Invalid package name: '-x'. Package names must follow PEP 508"),
        ('[extends]\npackges = ["x"]', 2, "unknown key 'packges': did you mean 'packages'?"),
    ],
)
def test_what_is_wrong_in_any_form_is_named_with_its_line(text: str, line: int, problem: str) -> None:
    with pytest.raises(LockfileInvalid) as caught:
        parse_lockfile(text, TOML)
    assert problem in caught.value.problem
    assert caught.value.line == line


def constrained(constraints: str) -> str:
    return f'[[bindings]]\nalias = "x"\nmodels = "a:b"\nconstraints = {{ {constraints} }}'


def test_constraints_are_defaults_for_requests_and_requirements_of_models() -> None:
    text = constrained(
        "temperature = 0, stop = 'END', reasoning_effort = 'low', timeout = 30, min_context = 100000, max_cost = 10.0, "
        "supports = ['vision', 'function_calling', 'tools']"
    )
    binding = parse_lockfile(text, TOML).binding("x")
    assert binding.defaults == Defaults(temperature=0, stop=("END",), reasoning_effort="low", timeout=30)
    assert binding.defaults.given == {"temperature": 0, "stop": ("END",), "reasoning_effort": "low", "timeout": 30}
    assert binding.requirements == Requirements(
        min_context=100_000, max_cost=Decimal("10.0"), supports=("vision", "tools")
    )


@pytest.mark.parametrize(
    ("constraints", "problem"),
    [
        ("temprature = 1", "unknown key 'temprature': did you mean 'temperature'?"),
        ("temperature = 'hot'", "constraints.temperature: expected `float | null`, got `str`, found 'hot'"),
        ("temperature = nan", "constraints.temperature must be a number, found nan"),
        ("timeout = inf", "constraints.timeout must be a number, found inf"),
        ("max_tokens = 0", "constraints.max_tokens: expected `int` >= 1, found 0"),
        ("reasoning_effort = 'much'", "constraints.reasoning_effort: invalid enum value 'much', found 'much'"),
        ("timeout = -1", "constraints.timeout: expected `float` > 0.0, found -1"),
        ("min_context = 1.5", "min_context must be a whole number of tokens, at least 1, found 1.5"),
        ("max_cost = 'cheap'", "max_cost must be dollars per million tokens, 0 or more, found 'cheap'"),
        ("max_cost = nan", "max_cost must be dollars per million tokens, 0 or more, found nan"),
        ("supports = ['vison']", "'vison' is not a capability: did you mean 'vision'?"),
        ("supports = 5", "supports must be a list of capabilities, found 5"),
    ],
)
def test_a_constraint_that_would_not_hold_is_refused(constraints: str, problem: str) -> None:
    with pytest.raises(LockfileInvalid) as caught:
        parse_lockfile(constrained(constraints), TOML)
    assert problem in caught.value.problem
    assert caught.value.line == 4


def test_what_can_be_required_is_what_the_catalog_knows() -> None:
    assert set(CAPABILITIES) == set(catalog.CAPABILITIES)


def test_the_digest_is_of_what_is_said_and_not_of_how() -> None:
    digest = lock_digest(parse_lockfile(SPECIFICATION, TOML))
    assert digest == "139f79bb6559ddb59d1fadca56ff29f5df64add0022019e2a76e4b6e8eca42be"
    in_other_words = (
        SPECIFICATION.replace('provider = "openai"\nmodel = "gpt-4o-mini"', 'models = ["openai:gpt-4o-mini"] # !')
        + '[metadata]\nby = "me"\n'
    ).replace("version =", 'updated_at = "2026-01-01"\nversion =', 1)
    assert lock_digest(parse_lockfile(in_other_words, Path("elsewhere.lock"))) == digest
    assert lock_digest(parse_lockfile(SPECIFICATION.replace("0.3", "0.4"), TOML)) != digest
    huge = SPECIFICATION.replace("temperature = 0.3", f"seed = {2**60}")
    more = SPECIFICATION.replace("temperature = 0.3", f"seed = {2**60 + 1}")
    assert lock_digest(parse_lockfile(huge, TOML)) != lock_digest(parse_lockfile(more, TOML))


@pytest.mark.parametrize(
    ("lines", "problem"),
    [
        ('order = "cheapst"', "must be one of 'ordered', 'cheapest', 'fastest', 'spread' (did you mean 'cheapest'?)"),
        ("order = 1", "bindings[0].order must be one of"),
        ('weights = { "c:d" = 1 }', "bindings[0].weights: c:d is not among the binding's models"),
        ('weights = { "a:b" = 0 }', "must be a number above 0, found 0"),
        ("weights = 5", "bindings[0].weights must be a table"),
    ],
)
def test_an_order_that_is_none_is_refused(lines: str, problem: str) -> None:
    with pytest.raises(LockfileInvalid) as caught:
        parse_lockfile(f'[[bindings]]\nalias = "x"\nmodels = "a:b"\n{lines}', TOML)
    assert problem in caught.value.problem
    assert caught.value.line == 4


def test_order_and_weights_are_part_of_the_meaning() -> None:
    text = '[[bindings]]\nalias = "x"\nmodels = ["a:b", "c:d"]\norder = "spread"\nweights = { "a:b" = 3 }'
    lockfile = parse_lockfile(text, TOML)
    binding = lockfile.binding("x")
    assert (binding.order, {str(ref): weight for ref, weight in binding.weights.items()}) == ("spread", {"a:b": 3.0})
    assert lock_digest(lockfile) != lock_digest(parse_lockfile(text.replace("3", "4"), TOML))
