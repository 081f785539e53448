"""lockfile/reading.py and profiles.py: what a lockfile binds, and what is said when it is wrong."""

import contextlib
import json
from pathlib import Path
from typing import Any

import pytest
import tomlkit
from hypothesis import given
from hypothesis import strategies as st

from llmring.errors import InvalidRequest, LockfileInvalid, LockfileMissing, UnknownAlias, UnknownProfile
from llmring.lockfile import Lockfile, parse_lockfile, read_lockfile
from llmring.lockfile.digest import lock_digest
from llmring.refs import ModelRef

TOML = Path("llmring.lock")
JSON = Path("llmring.lock.json")

CANONICAL = """\
version = "1.0"
default_profile = "default"
created_at = "2026-01-01T00:00:00Z"
updated_at = 2026-01-01T00:00:00Z

[metadata]
anything = "goes: here"

[profiles.default]
name = "default"

[[profiles.default.bindings]]
alias = "fast"
models = ["openai:gpt-4o-mini", "anthropic:claude-haiku-4-5"]

[[profiles.default.bindings]]
alias = "deep"
models = "anthropic:claude-opus-5"

[profiles.default.registry_versions]
openai = 7

[profiles.prod]
bindings = [{ alias = "fast", models = ["ollama:llama3.3:70b"] }]

[providers.openai]
requests_per_minute = 500
"""


def toml(text: str) -> Lockfile:
    return parse_lockfile(text, TOML)


def binding(lines: str) -> str:
    return f"[[profiles.default.bindings]]\n{lines}\n"


def wrong(text: str, path: Path = TOML) -> LockfileInvalid:
    with pytest.raises(LockfileInvalid) as caught:
        parse_lockfile(text, path)
    assert caught.value.path == path
    return caught.value


def test_the_canonical_form_is_read_whole_and_without_a_note() -> None:
    lockfile = toml(CANONICAL)
    assert lockfile.path == TOML
    assert lockfile.version == "1.0"
    assert lockfile.default_profile == "default"
    assert list(lockfile.profiles) == ["default", "prod"]
    assert list(lockfile.profiles["default"].bindings) == ["fast", "deep"]
    assert lockfile.providers["openai"].requests_per_minute == 500
    assert lockfile.notes == ()


def test_models_are_a_list_in_order_of_preference_or_one_string() -> None:
    lockfile = toml(CANONICAL)
    assert lockfile.binding("fast").models == (
        ModelRef("openai", "gpt-4o-mini"),
        ModelRef("anthropic", "claude-haiku-4-5"),
    )
    assert lockfile.binding("deep").models == (ModelRef("anthropic", "claude-opus-5"),)


def test_a_name_that_ends_in_json_is_read_as_json_with_the_same_keys() -> None:
    # As llmring writes it: nulls where nothing is set.
    text = json.dumps(
        {
            "version": "1.0",
            "created_at": "2026-01-01T00:00:00Z",
            "updated_at": None,
            "profiles": {
                "default": {
                    "name": "default",
                    "bindings": [{"alias": "fast", "constraints": None, "models": ["openai:gpt-4o"]}],
                    "registry_versions": {},
                }
            },
            "default_profile": "default",
            "metadata": {},
            "extends": {"packages": []},
        }
    )
    lockfile = parse_lockfile(text, JSON)
    assert lockfile.binding("fast").models == (ModelRef("openai", "gpt-4o"),)
    assert lockfile.notes == ()


def test_version_and_default_profile_have_defaults() -> None:
    lockfile = toml(binding('alias = "fast"\nmodels = "openai:gpt-4o"'))
    assert (lockfile.version, lockfile.default_profile) == ("1.0", "default")


def test_the_profile_asked_for_comes_before_the_default() -> None:
    lockfile = toml(CANONICAL)
    assert lockfile.binding("fast", "prod").models == (ModelRef("ollama", "llama3.3:70b"),)
    assert lockfile.binding("fast", None).models == lockfile.binding("fast", "default").models


def test_a_model_reference_binds_itself_whatever_the_profile() -> None:
    bound = toml("").binding("openai:gpt-4o", "nowhere")
    assert (bound.alias, bound.models) == ("openai:gpt-4o", (ModelRef("openai", "gpt-4o"),))


def test_an_unknown_alias_or_profile_is_an_error_that_names_the_nearest() -> None:
    lockfile = toml(CANONICAL)
    with pytest.raises(UnknownAlias) as alias:
        lockfile.binding("fsat")
    assert str(alias.value) == "unknown alias 'fsat' in profile 'default' of llmring.lock: did you mean 'fast'?"
    with pytest.raises(UnknownProfile) as profile:
        lockfile.binding("fast", "pord")
    assert str(profile.value) == "unknown profile 'pord' in llmring.lock: did you mean 'prod'?"


def test_a_text_with_a_colon_that_is_no_reference_is_an_invalid_request() -> None:
    with pytest.raises(InvalidRequest, match="empty or holds blanks"):
        toml(CANONICAL).binding("openai:")


@pytest.mark.parametrize(
    ("text", "line", "problem"),
    [
        (binding('models = "openai:gpt-4o"'), 1, "profiles.default.bindings[0]: alias must be a string"),
        (binding('alias = 5\nmodels = "openai:gpt-4o"'), 2, "alias must be a string, found 5"),
        (binding('alias = "a b"\nmodels = "openai:gpt-4o"'), 2, "(alias 'a b'): 'a b' is not an alias"),
        (binding('alias = "x"'), 1, "(alias 'x'): models is missing: 'provider:model' or a list of them"),
        (
            binding('alias = "x"\nmodels = "gpt-4o"'),
            3,
            "bindings[0] (alias 'x'): models must be 'provider:model' or a list of them, found 'gpt-4o'",
        ),
        (
            binding('alias = "x"\nmodels = [\n "openai:gpt-4o",\n "gpt-4o"]'),
            5,
            "or a list of them, found 'gpt-4o'",
        ),
        (binding('alias = "x"\nmodels = ["openai:gpt-4o", 7]'), 3, "or a list of them, found 7"),
        (binding('alias = "x"\nmodels = {}'), 3, "or a list of them, found a table"),
        (binding('alias = "x"\nmodels = []'), 3, "models is empty: name at least one 'provider:model'"),
        (binding('alias = "x"\nmodels = "openai:"'), 3, "the model's name is empty or holds blanks"),
        (binding('alias = "x"\nmodels = "a:b,c:d"'), 3, "several models are a list of strings"),
        (
            binding('alias = "x"\nmodels = "a:b"') + binding('alias = "y"\nmodels = "a:b"\nmodle = "z"'),
            7,
            "profiles.default.bindings[1] (alias 'y'): unknown key 'modle': did you mean 'model'?",
        ),
        (
            binding('alias = "x"\nmodels = "a:b"\nzzz = 1'),
            4,
            "unknown key 'zzz': expected alias, constraints, model, models, models_from, order, pins, provider",
        ),
        (
            binding('alias = "x"\nmodels = "a:b"') + binding('alias = "x"\nmodels = "c:d"'),
            5,
            "alias 'x' is bound twice in profile 'default' (first on line 2)",
        ),
        ("profiles = 5", 1, "profiles must be a table of tables: [profiles.<name>], found 5"),
        ("[profiles]\ndefault = 'x'", 2, "profiles.default must be a table, found 'x'"),
        ("[profiles.default]\nbindings = 'x'", 2, "profiles.default.bindings must be a list, found 'x'"),
        (
            "[profiles.default]\nbindings = ['x']",
            2,
            "profiles.default.bindings[0] must be a table with alias",
        ),
        ("[profiles.default]\nname = 1", 2, "profiles.default.name must be a string, found 1"),
        (
            "[profiles.default]\nregistry_versions = 1",
            2,
            "profiles.default.registry_versions must be a table",
        ),
        (
            "[profiles.default]\nnotes = 'x'",
            2,
            "unknown key 'notes': expected bindings, name, registry_versions",
        ),
        ("[profiles.'my prod']\nname = 1", 2, "profiles.'my prod'.name must be a string"),
        ("version = 1.0", 1, "version must be a string, found 1.0"),
        ("version = '2.0'", 1, "version must be '1.0' or another 1.x, found '2.0'"),
        ("version = ''", 1, "version must be '1.0' or another 1.x, found ''"),
        ("version = '1.x'", 1, "found '1.x'"),
        (
            "default_profile = 'prd'\n[profiles.prod]",
            1,
            "default_profile 'prd' does not exist: the profiles are 'prod'",
        ),
        ("extends = 5", 1, "extends must be a table, found 5"),
        ("[extends]\npackages = [1]", 2, "extends.packages must be a list of names, found a list"),
    ],
)
def test_a_wrong_value_is_named_with_its_line_and_what_was_expected(text: str, line: int, problem: str) -> None:
    error = wrong(text)
    assert problem in error.problem
    assert error.line == line


@pytest.mark.parametrize(
    ("text", "line", "problem"),
    [
        ("a = 1\nb = = 2\n", 2, "not TOML: Invalid value"),
        ("version = '1.0\n", 1, "not TOML"),
        ('a = 1\nb = """x\ny = 1\n', 2, "not TOML: Unterminated string"),
        ("a = 1\nb = '''x\ny = 1\n", 2, "not TOML: Expected \"'''\""),
        ("a = 1\nb = 'x\ny = 1\nz = 'w'\n", 2, "not TOML"),
        ("a = 1\nb = [\n1,\n[2],\n", 2, "not TOML"),
        ("a = [1]\nb =", 2, "not TOML: Invalid value"),
        ("a = 1\na = 2\n", 2, "not TOML: Cannot overwrite a value"),
        ("a = " + "[" * 3000, None, "nested too deeply"),
        ("a = " + "9" * 5000, None, "a number or date out of all range"),
    ],
)
def test_bad_toml_is_named_with_its_line(text: str, line: int | None, problem: str) -> None:
    error = wrong(text)
    assert error.problem.startswith(problem) or problem in error.problem
    assert error.line == line
    assert "(at line" not in error.problem


@pytest.mark.parametrize(
    ("text", "line", "problem"),
    [
        ("", 1, "not JSON: Expecting value"),
        ('{\n "version": }', 2, "not JSON: Expecting value"),
        (CANONICAL, 1, "not JSON"),
        ("[]", 1, "a lockfile is a table, found an empty list: expected [[profiles.<name>.bindings]]"),
        ("null", 1, "a lockfile is a table, found null"),
        (
            '{"version": null, "profiles": {}, "profiles": {}}',
            None,
            "the key 'profiles' stands twice in one object",
        ),
        ('{"version": NaN}', None, "NaN is not a number of JSON"),
        ('{"version":\n 1}', 1, "version must be a string, found 1"),
        ("[" * 100_000, None, "nested too deeply"),
        ('{"a": ' + "9" * 5000 + "}", None, "a number out of all range"),
        ('{"profiles": {"default": {\n"bindings": [{"alias": "x",\n"models": "y"}]}}}', 3, "found 'y'"),
    ],
)
def test_bad_json_is_named_with_its_line(text: str, line: int | None, problem: str) -> None:
    error = wrong(text, JSON)
    assert problem in error.problem
    assert error.line == line


FORM = "expected [[profiles.<name>.bindings]] with alias = "


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ('[default]\nfast = "openai:gpt-4o-mini"', 1),
        ('[environments.prod]\nbindings = [{ alias = "x" }]', 1),
        ('routes = [["openai:gpt-4o"]]', 1),
        ('[profiles.default.aliases]\nfast = "openai:gpt-4o"', 1),
        ('[profiles.default]\nfast = "openai:gpt-4o"', 2),
    ],
)
def test_another_form_of_lockfile_is_never_read_as_an_empty_one(text: str, line: int) -> None:
    error = wrong(text)
    assert FORM in error.problem
    assert error.line == line


@pytest.mark.parametrize(
    ("key", "meant"),
    [
        ("[profile.default]", "profiles"),
        ("[Profiles.default]", "profiles"),
        ("[provider.openai]", "providers"),
        ('default_profil = "x"', "default_profile"),
        ('defaultprofile = "x"', "default_profile"),
    ],
)
def test_a_misspelt_top_level_key_is_an_error(key: str, meant: str) -> None:
    assert f"did you mean {meant!r}?" in wrong(key).problem


@pytest.mark.parametrize(
    ("text", "note"),
    [
        ("zzz = 1", "zzz is not known and has no effect"),
        ("[tool.x]\nurl = 'http://x/y'\nat = '12:30'", "tool is not known and has no effect"),
        (
            "[extends]\npackages = ['libA', 'libA']",
            "extends.packages: 'libA' is listed twice",
        ),
        ("[profiles.default]\nname = 'Default'", "its name is 'Default'; the profile is called 'default'"),
        ("[profiles.prod]", "there is no default profile: name one of 'prod' in every call, or set default_profile"),
        (binding('alias = "x"\nmodels = ["a:b", "A:b"]'), "a:b is listed twice"),
        ("", "the lockfile binds no alias"),
    ],
)
def test_what_has_no_effect_is_noted(text: str, note: str) -> None:
    assert any(note in said for said in toml(text).notes)


def test_an_alias_with_a_colon_is_an_error_unless_its_package_is_extended() -> None:
    assert "'libB:x' is not an alias" in wrong(binding('alias = "libB:x"\nmodels = "a:b"')).problem


def test_a_long_value_is_cut_in_a_message() -> None:
    assert len(wrong(binding(f'alias = "x"\nmodels = "{"y" * 5000}"')).problem) < 200
    assert "a number out of all range" in wrong("version = " + "9" * 4000).problem


def test_a_file_is_read_with_a_byte_order_mark_and_windows_line_ends(tmp_path: Path) -> None:
    path = tmp_path / "llmring.lock"
    path.write_bytes(b"\xef\xbb\xbf" + CANONICAL.replace("\n", "\r\n").encode())
    assert list(read_lockfile(path).profiles) == ["default", "prod"]


def test_a_file_that_cannot_be_read_is_missing(tmp_path: Path) -> None:
    for path, why in [
        (tmp_path / "x.lock", "no such file"),
        (tmp_path, "is a directory"),
        (Path("a\0"), "null byte"),
    ]:
        with pytest.raises(LockfileMissing, match=why):
            read_lockfile(path)


def test_a_file_that_is_not_utf_8_is_invalid_on_the_line_of_the_wrong_byte(tmp_path: Path) -> None:
    path = tmp_path / "llmring.lock"
    path.write_bytes(b'version = "1.0"\n# caf\xe9\n')
    with pytest.raises(LockfileInvalid, match="line 2: not UTF-8"):
        read_lockfile(path)


KEYS = st.sampled_from(
    [
        "version",
        "default_profile",
        "profiles",
        "providers",
        "extends",
        "packages",
        "default",
        "bindings",
        "alias",
        "models",
        "constraints",
        "name",
        "registry_versions",
        "openai",
        "kind",
        "base_url",
        "api_key_env",
        "headers",
        "requests_per_minute",
        "max_in_flight",
        "aliases",
        "provider",
        "model",
        "pins",
        "models_from",
        "extends",
        "packages",
        "temperature",
        "max_cost",
        "min_context",
        "supports",
        "stop",
        "timeout",
        "x",
        "lib:x",
    ]
)
SCALARS = (
    st.booleans()
    | st.integers(-(10**20), 10**20)
    | st.floats()
    | st.sampled_from(["default", "openai:gpt-4o", "a:b,c:d", "1.0", "http://[x", "https://a.b/c", "sk-1", ""])
    | st.text(max_size=10)
)


def tables(scalars: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    values = st.recursive(
        scalars,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS | st.text(max_size=5), inner, max_size=5),
        max_leaves=20,
    )
    return st.dictionaries(KEYS, values, max_size=6)


def parses_or_is_invalid(text: str, path: Path) -> None:
    try:
        lockfile = parse_lockfile(text, path)
    except LockfileInvalid as error:
        line = error.line
    else:
        line = None
        assert all(bound.models for profile in lockfile.profiles.values() for bound in profile.bindings.values())
        assert len(lock_digest(lockfile)) == 64
    assert line is None or 1 <= line <= text.count("\n") + 1


@given(st.text(max_size=80), st.sampled_from([TOML, JSON]))
def test_any_text_is_a_lockfile_or_an_invalid_one(text: str, path: Path) -> None:
    parses_or_is_invalid(text, path)


@given(st.binary(max_size=120), st.sampled_from(["llmring.lock", "llmring.lock.json"]))
def test_any_bytes_are_a_lockfile_or_an_invalid_one(
    tmp_path_factory: pytest.TempPathFactory, data: bytes, name: str
) -> None:
    path = tmp_path_factory.getbasetemp() / name
    path.write_bytes(data)
    with contextlib.suppress(LockfileInvalid):
        assert read_lockfile(path).path == path


@given(tables(SCALARS))
def test_any_toml_is_a_lockfile_or_an_invalid_one(value: dict[str, Any]) -> None:
    parses_or_is_invalid(tomlkit.dumps(value), TOML)


@given(tables(SCALARS | st.none()) | SCALARS | st.none())
def test_any_json_is_a_lockfile_or_an_invalid_one(value: Any) -> None:
    parses_or_is_invalid(json.dumps(value), JSON)


BINDINGS = st.lists(
    st.fixed_dictionaries(
        {
            "alias": st.sampled_from(["x", "y", "z:", ""]),
            "models": st.sampled_from(["a:b", ["a:b", "c:d"], [], "a"]),
        }
    ),
    max_size=3,
)


@given(BINDINGS, BINDINGS)
def test_what_is_read_is_what_was_written_or_it_is_refused(
    one: list[dict[str, Any]], two: list[dict[str, Any]]
) -> None:
    given_profiles = {"default": {"bindings": one}, "two": {"bindings": two}}
    is_good = all(
        all(b["alias"] in ("x", "y") and b["models"] not in ([], "a") for b in items)
        and len({b["alias"] for b in items}) == len(items)
        for items in (one, two)
    )
    text = tomlkit.dumps({"profiles": given_profiles})
    if not is_good:
        wrong(text)
        return
    for name, profile in toml(text).profiles.items():
        written = given_profiles[name]["bindings"]
        assert [(b.alias, list(map(str, b.models))) for b in profile.bindings.values()] == [
            (b["alias"], [b["models"]] if isinstance(b["models"], str) else b["models"]) for b in written
        ]
