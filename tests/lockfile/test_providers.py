"""lockfile/providers.py: limits and endpoints of a provider, and never a key."""

import json
import traceback
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmring.errors import LockfileInvalid
from llmring.lockfile import ProviderSettings, parse_lockfile
from llmring.lockfile.digest import lock_digest

TOML = Path("llmring.lock")
SECRET = "sk-proj-abcdefghijklmnopqrstuvwxyz"


def settings(lines: str, name: str = "vllm") -> ProviderSettings:
    return parse_lockfile(f"[providers.{name}]\n{lines}", TOML).providers[name]


def wrong(text: str) -> LockfileInvalid:
    with pytest.raises(LockfileInvalid) as caught:
        parse_lockfile(text, TOML)
    return caught.value


def test_every_key_is_read() -> None:
    lines = """
    kind = "openai-compatible"
    base_url = "https://llm.example.com:8443/v1/"
    api_key_env = "VLLM_KEY"
    requests_per_minute = 60
    tokens_per_minute = 1e6
    input_tokens_per_minute = 0.5
    output_tokens_per_minute = 3
    requests_per_day = 4
    max_in_flight = 5
    limits_counted = "by window"
    limits_shared = true
    charges = "input+max_tokens at admission"
    cached_tokens_count = false
    headers = { X-Team = "blue", OpenAI-Organization = "org-1" }
    """
    assert settings(lines) == ProviderSettings(
        name="vllm",
        kind="openai-compatible",
        base_url="https://llm.example.com:8443/v1",
        api_key_env="VLLM_KEY",
        requests_per_minute=60.0,
        tokens_per_minute=1e6,
        input_tokens_per_minute=0.5,
        output_tokens_per_minute=3.0,
        requests_per_day=4.0,
        max_in_flight=5,
        limits_counted="by window",
        limits_shared=True,
        charges="input+max_tokens at admission",
        cached_tokens_count=False,
        headers={"X-Team": "blue", "OpenAI-Organization": "org-1"},
    )


def test_what_is_not_given_is_none_and_a_null_is_not_given() -> None:
    assert settings("") == ProviderSettings(name="vllm")
    table = dict.fromkeys(name for name in ProviderSettings.__struct_fields__ if name != "name")
    text = json.dumps({"providers": {"vllm": table}})
    assert parse_lockfile(text, Path("x.json")).providers["vllm"] == ProviderSettings(name="vllm")


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        (
            'kind = "opnai"',
            "providers.vllm.kind must be one of 'openai', 'openai-responses', 'openai-compatible', ",
        ),
        (
            "kind = 5",
            "'llamacpp', found 5",
        ),
        ("kind = []", "found an empty list"),
        ("requests_per_minute = 0", "providers.vllm.requests_per_minute must be a number above 0, found 0"),
        ("tokens_per_minute = -1", "must be a number above 0, found -1"),
        ("tokens_per_minute = nan", "must be a number above 0, found nan"),
        ("tokens_per_minute = inf", "must be a number above 0, found inf"),
        ("tokens_per_minute = true", "must be a number above 0, found true"),
        ('tokens_per_minute = "60"', "must be a number above 0, found a string"),
        ("tokens_per_minute = " + "9" * 400, "must be a number above 0, found a number out of all range"),
        (
            'limits_counted = "window"',
            "providers.vllm.limits_counted must be 'continuously' or 'by window', found a string",
        ),
        ("limits_shared = 1", "providers.vllm.limits_shared must be true or false, found 1"),
        (
            'charges = "max_tokens"',
            "'input+output', 'input+max_tokens', 'input+max_tokens at admission', found a string",
        ),
        ("charges = true", "providers.vllm.charges must be one of 'input', "),
        ('cached_tokens_count = "no"', "providers.vllm.cached_tokens_count must be true or false, found a string"),
        ("api_key_env = []", "providers.vllm.api_key_env must name at least one environment variable, found an empty"),
        ('api_key_env = ["A", 5]', "providers.vllm.api_key_env[1] must be the name of an environment variable"),
        ('api_key_env = ["A", "B", "A"]', "providers.vllm.api_key_env names one variable twice"),
        ("limit_groups = 5", "must be a table of tables: [providers.vllm.limit_groups.<group>], found 5"),
        ("limit_groups.x = 5", "providers.vllm.limit_groups.x must be a table, found 5"),
        ("limit_groups.x = {}", "providers.vllm.limit_groups.x needs models: the list of those that share"),
        ("limit_groups.x.models = 5", "limit_groups.x.models must be a list of the provider's models, such as"),
        ("limit_groups.x.models = []", "found an empty list"),
        (
            'limit_groups.x.models = ["a*b"]',
            "models[0] must be a model's name, or its beginning and a '*', found 'a*b'",
        ),
        ('limit_groups.x.models = ["a", 5]', "providers.vllm.limit_groups.x.models[1] must be a model's name, or its"),
        ('limit_groups.x.models = ["vllm:a"]', "models[0]: without its provider, 'a': it is in [providers.vllm]"),
        ('limit_groups.x = { models = ["a"], tokens_per_minute = 0 }', "must be a number above 0, found 0"),
        ('limit_groups.x = { models = ["a"], rpm = 5 }', "providers.vllm.limit_groups.x: unknown key 'rpm': expected"),
        ("max_in_flight = 0", "providers.vllm.max_in_flight must be a whole number, at least 1, or 'auto', found 0"),
        ('max_in_flight = "many"', "must be a whole number, at least 1, or 'auto', found"),
        ("max_in_flight = 1.5", "must be a whole number, at least 1, or 'auto', found 1.5"),
        ("max_in_flight = true", "must be a whole number, at least 1, or 'auto', found true"),
        ("requests_per_minut = 5", "unknown key 'requests_per_minut': did you mean 'requests_per_minute'?"),
        ("rpm = 5", "providers.vllm: unknown key 'rpm': expected api_key_env, api_version"),
        ("headers = 5", "providers.vllm.headers must be a table of names and strings, found 5"),
        (
            "headers = { X-A = 5 }",
            "providers.vllm.headers.X-A must be a string of printable ASCII characters, found 5",
        ),
        ('headers = { X-A = "a\\nb" }', "must be a string of printable ASCII characters, found a string"),
        ('headers = { "a b" = "c" }', "providers.vllm.headers: 'a b' is not a header's name"),
    ],
)
def test_a_wrong_value_is_named_with_its_line_and_what_was_expected(line: str, problem: str) -> None:
    error = wrong(f"# a comment\n[providers.vllm]\n{line}\n")
    assert problem in error.problem
    assert error.line == 3


@pytest.mark.parametrize(
    "url",
    [
        "llm.example.com/v1",
        "ftp://llm.example.com",
        "https://",
        "https://:8080/v1",
        "https:///v1",
        "https://llm.example.com:99999",
        "https://[::1",
        "https://llm.example.com/v1 ",
        "https://llm.exa\\tmple.com",
        "",
    ],
)
def test_a_base_url_is_http_or_https_with_a_host(url: str) -> None:
    assert "base_url must be an http or https URL with a host" in wrong(f'[providers.x]\nbase_url = "{url}"').problem


@pytest.mark.parametrize("url", ["http://localhost:11434", "http://[::1]:8000/v1", "https://llm.example.com/a/b//"])
def test_a_trailing_slash_is_dropped(url: str) -> None:
    assert settings(f'base_url = "{url}"').base_url == url.rstrip("/")


def test_a_base_url_holds_no_query_because_paths_are_added_to_it() -> None:
    assert "no query and no fragment" in wrong('[providers.x]\nbase_url = "https://a.b/v1?x=1"').problem


@pytest.mark.parametrize(
    "text",
    [
        f'[providers.x]\napi_key_env = "{SECRET}"',
        '[providers.x]\napi_key_env = "AIzaabcdefghijklmnopqrstuvwxyz"',
        f'[providers.x]\napi_key_env = "{"abcdefghijklmnopqrstuvwxyz" * 3}"',
        '[providers.x]\napi_key_env = "1abcdefghijklmnopqrstuvwxyz"',
        f'[providers.x]\napi_key_env = ["A", "{SECRET}"]',
        f'[providers.x]\nlimits_shared = "{SECRET}"',
        f'[providers.x]\nlimit_groups = "{SECRET}"',
        f'[providers.x]\nlimit_groups.a = "{SECRET}"',
        f'[providers.x]\nlimit_groups.a.models = "{SECRET}"',
        f'[providers.x]\napi_key = "{SECRET}"',
        f'[providers.x]\nkind = "{SECRET}"',
        f'[providers.x]\nbase_url = "{SECRET}"',
        f'[providers.x]\nbase_url = "https://me:{SECRET}@example.com"',
        f'[providers.x]\nbase_url = "https://me:{SECRET}"',
        f'[providers.x]\nbase_url = "https://example.com?key={SECRET}"',
        f'[providers.x]\nrequests_per_minute = "{SECRET}"',
        f'[providers.x]\nmax_in_flight = "{SECRET}"',
        f'[providers.x]\nheaders = "{SECRET}"',
        f'[providers.x]\nheaders = {{ Authorization = "Bearer {SECRET}" }}',
        f'[providers.x]\nheaders = {{ X-A = "{SECRET}\\n" }}',
        f'[providers]\nx = "{SECRET}"',
        f'providers = "{SECRET}"',
        f"[providers.x]\napi_key_env = {SECRET}",
    ],
)
def test_a_key_in_a_provider_table_is_refused_and_not_repeated(text: str) -> None:
    error = wrong(text)
    chain = "".join(traceback.format_exception(error))
    for said in (str(error), repr(error), chain):
        assert "abcdefghijklmnopqrstuvwxyz" not in said


@pytest.mark.parametrize("name", ["authorization", "X-API-Key", "api-key", "x-goog-api-key", "Proxy-Authorization"])
def test_a_header_that_carries_a_key_is_refused_by_name(name: str) -> None:
    error = wrong(f'[providers.x.headers]\n{name} = "y"')
    assert "keys do not belong in a lockfile" in error.problem
    assert "set api_key_env" in error.problem
    assert error.line == 2


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("OpenAI", "a provider's name is the lower-case part before the colon of a model, 'openai'"),
        ('"a b"', "'a b' is not a provider's name"),
        ('"a:b"', "a provider's name is the lower-case part before the colon"),
        ('""', "'' is not a provider's name"),
    ],
)
def test_a_provider_is_called_as_in_a_model_reference(name: str, problem: str) -> None:
    error = wrong(f"\n[providers.{name}]")
    assert problem in error.problem
    assert error.line == 2


@given(st.floats(min_value=0, exclude_min=True, max_value=1e17))
def test_a_limit_is_any_number_above_zero(limit: float) -> None:
    text = json.dumps({"providers": {"x": {"tokens_per_minute": limit}}})
    assert parse_lockfile(text, Path("x.json")).providers["x"].tokens_per_minute == limit


# Several keys, and models that share their limits.


def test_several_variables_are_a_list_and_one_is_a_name_however_it_is_written() -> None:
    assert settings('api_key_env = ["B", "A"]').api_key_env == ("B", "A")
    assert settings('api_key_env = ["A"]') == settings('api_key_env = "A"')


GROUPS = """
[providers.openai.limit_groups.large]
models = ["gpt-4o", "gpt-4o-2024-*"]
requests_per_minute = 500
tokens_per_minute = 2e5

[providers.openai.limit_groups."small ones"]
models = ["gpt-4o-mini*"]
"""


def test_a_group_holds_the_models_that_it_names_and_those_that_begin_so() -> None:
    groups = parse_lockfile(GROUPS, TOML).providers["openai"].limit_groups
    assert list(groups) == ["large", "small ones"]
    assert (groups["large"].requests_per_minute, groups["large"].tokens_per_minute) == (500.0, 200_000.0)
    assert groups["small ones"].requests_per_minute is None
    names = ["gpt-4o", "gpt-4o-2024-08-06", "gpt-4o-mini", "gpt-4o-mini-2024-07-18", "gpt-4o-2025", "gpt-4"]
    assert [name for name in names if groups["large"].holds(name)] == names[:2]
    assert [name for name in names if groups["small ones"].holds(name)] == names[2:4]


@pytest.mark.parametrize(
    ("first", "second", "said"),
    [
        ("gpt-4o", "gpt-4o", "'gpt-4o' is in group 'a' too"),
        ("gpt-4o", "gpt-*", "'gpt-*' is in group 'a' too, as 'gpt-4o'"),
        ("gpt-*", "gpt-4o", "'gpt-4o' is in group 'a' too, as 'gpt-*'"),
        ("gpt-4*", "gpt-*", "'gpt-*' is in group 'a' too, as 'gpt-4*'"),
        ("gpt-4o*", "*", "'*' is in group 'a' too, as 'other'"),
    ],
)
def test_a_model_in_two_groups_is_refused_with_both_lines(first: str, second: str, said: str) -> None:
    text = f"""[providers.openai.limit_groups.a]
models = ["other", "{first}"]
[providers.openai.limit_groups.b]
models = [
  "an exact one",
  "{second}",
]
"""
    error = wrong(text)
    assert f"providers.openai.limit_groups.b.models[1]: {said}" in error.problem
    assert "(first on line 2)" in error.problem
    assert error.line == 6


@given(st.lists(st.text("ab*", min_size=1, max_size=4), min_size=2, max_size=4), st.text("ab", max_size=6))
def test_no_model_is_ever_in_two_groups(patterns: list[str], model: str) -> None:
    groups = {f"g{number}": {"models": [pattern]} for number, pattern in enumerate(patterns)}
    try:
        parsed = parse_lockfile(json.dumps({"providers": {"x": {"limit_groups": groups}}}), Path("x.json"))
    except LockfileInvalid:
        return
    assert sum(group.holds(model) for group in parsed.providers["x"].limit_groups.values()) <= 1


def test_the_digest_is_of_keys_and_groups_too_and_that_of_one_key_is_as_it_was() -> None:
    def digest(text: str) -> str:
        return lock_digest(parse_lockfile(text, TOML))

    one = digest('[providers.openai]\napi_key_env = "A"')
    assert one == digest('[providers.openai]\napi_key_env = ["A"]')
    assert len({one, digest('[providers.openai]\napi_key_env = ["A", "B"]'), digest(GROUPS)}) == 3
    turned = GROUPS.replace('"gpt-4o", "gpt-4o-2024-*"', '"gpt-4o-2024-*", "gpt-4o"')
    assert digest(GROUPS) == digest(turned)
    assert digest(GROUPS) != digest(GROUPS.replace("500", "501"))
