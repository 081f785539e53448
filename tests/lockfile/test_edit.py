"""Edits of a lockfile change what they are asked to, and not one byte beside it."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmring.errors import EditRefused, UnknownAlias, UnknownProfile
from llmring.lockfile import Lockfile, parse_lockfile
from llmring.lockfile.edit import bind, diff, new_lockfile, set_pins, set_versions, unbind
from tests.lockfile.test_forms import DOCS, SITE, SKILL, SPECIFICATION

TOML = Path("llmring.lock")
JSON = Path("llmring.lock.json")

AWKWARD = """\
# The head of the file.

# Not mine: another tool's.
owner = { team = "ml", since = 2026-01-01 } # who

[profiles.default] # the one and only
name = 'default'

# About fast.
[[profiles.default.bindings]] # fast
alias = "fast" # its name
models = [ # in order
    "openai:gpt-5-mini",      # cheap
    # do not take this out
    "anthropic:claude-haiku-4-5", # dear
] # end of models
constraints = { temperature = 0.0 } # cold

  # About odd, indented.
  [[profiles.default.bindings]]
  models = 'ollama:llama3.3:70b'
  alias = "odd/name.v2"

# About versions.
[profiles.default.registry_versions] # pinned
openai = 6 # six

[providers.openai]
requests_per_minute = 500 # tier 3

[profiles.prod]
bindings = [{ alias = "fast", models = ["openai:gpt-5"] }, { alias = "x", models = "a:b" }] # inline
# The tail of the file."""


def toml(text: str) -> Lockfile:
    return parse_lockfile(text, TOML)


def models(text: str, alias: str, profile: str | None = None) -> list[str]:
    return [str(ref) for ref in toml(text).binding(alias, profile).models]


def changed(before: str, after: str) -> list[str]:
    """The lines of a diff that say what changed."""
    lines = diff(before, after, TOML).splitlines()[2:]
    return [line for line in lines if line[:1] in "+-"]


def test_a_binding_is_replaced_in_its_place_with_its_comments() -> None:
    after = bind(AWKWARD, TOML, "default", "fast", ["openai:gpt-5-mini", "anthropic:claude-haiku-4-5", "a:b"])
    assert changed(AWKWARD, after) == ['+    "a:b",']
    dropped = bind(AWKWARD, TOML, "default", "fast", ["anthropic:claude-haiku-4-5"])
    assert changed(AWKWARD, dropped) == ['-    "openai:gpt-5-mini",      # cheap']


def test_a_new_list_of_models_keeps_what_stands_beside_the_old_one() -> None:
    after = bind(AWKWARD, TOML, "default", "fast", ["a:b"])
    assert "] # end of models\n" in after
    assert models(after, "fast") == ["a:b"]


def test_a_string_becomes_a_list_where_there_are_several() -> None:
    after = bind(AWKWARD, TOML, "default", "odd/name.v2", ["a:b", "c:d"])
    assert changed(AWKWARD, after) == ["-  models = 'ollama:llama3.3:70b'", '+  models = ["a:b", "c:d"]']


def test_a_new_alias_stands_behind_the_last_of_its_profile() -> None:
    after = bind(AWKWARD, TOML, "default", "new", ["a:b"], constraints={"max_cost": 10}, models_from=["a:*"])
    assert changed(AWKWARD, after) == [
        "+[[profiles.default.bindings]]",
        '+alias = "new"',
        '+models = ["a:b"]',
        '+models_from = ["a:*"]',
        "+constraints = {max_cost = 10}",
        "+",
    ]


def test_a_new_alias_of_an_inline_list_stands_in_it() -> None:
    after = bind(AWKWARD, TOML, "prod", "new", ["a:b"])
    assert models(after, "new", "prod") == ["a:b"]
    assert len(changed(AWKWARD, after)) == 2
    assert "# inline" in after


def test_a_new_profile_stands_behind_the_last() -> None:
    after = bind(SKILL, TOML, "staging", "new", ["a:b"])
    assert after.startswith(SKILL)
    assert after[len(SKILL) :] == (
        '\n[profiles.staging]\nname = "staging"\n\n[[profiles.staging.bindings]]\nalias = "new"\nmodels = ["a:b"]\n'
    )


def test_what_is_not_named_stays_and_what_is_empty_goes() -> None:
    text = bind(SKILL, TOML, "default", "summarizer", ["a:b"], constraints={"timeout": 5}, pins={"a:b": "12"})
    kept = bind(text, TOML, "default", "summarizer", ["c:d"])
    assert changed(text, kept) == ['-models = ["a:b"]', '+models = ["c:d"]']
    gone = bind(text, TOML, "default", "summarizer", ["a:b"], constraints={}, pins={})
    assert changed(text, gone) == ["-constraints = {timeout = 5}", '-pins = {"a:b" = "12"}']


def test_the_same_binding_again_changes_nothing() -> None:
    for text in (AWKWARD, SKILL, SITE, DOCS, SPECIFICATION):
        for profile, held in toml(text).profiles.items():
            for alias, binding in held.bindings.items():
                assert bind(text, TOML, profile, alias, [str(ref) for ref in binding.models]) == text


@pytest.mark.parametrize(
    ("text", "alias", "wanted", "lines"),
    [
        (SITE, "new", ["a:b"], ['+new = "a:b"']),
        (
            SITE,
            "fast",
            ["a:b", "c:d"],
            ['-fast = "openai:gpt-4o-mini" # $0.15/1M input', '+fast = ["a:b", "c:d"] # $0.15/1M input'],
        ),
        (DOCS, "new", ["a:b"], ["+", "+[[bindings]]", '+alias = "new"', '+models = ["a:b"]']),
        (
            SPECIFICATION,
            "summarizer",
            ["anthropic:claude"],
            ['-provider = "openai"', '-model = "gpt-4o-mini"', '+provider = "anthropic"', '+model = "claude"'],
        ),
    ],
)
def test_older_forms_are_edited_in_their_own_form(text: str, alias: str, wanted: list[str], lines: list[str]) -> None:
    after = bind(text, TOML, "default", alias, wanted)
    assert [line for line in changed(text, after) if line != "+"] == [line for line in lines if line != "+"]
    assert models(after, alias) == wanted


def test_what_a_form_cannot_say_is_refused_with_the_way_out() -> None:
    with pytest.raises(EditRefused, match="cannot hold constraints: run `llmring lock upgrade` first"):
        bind(SITE, TOML, "default", "fast", ["a:b"], constraints={"timeout": 5})


def test_a_binding_goes_with_its_lines_and_an_empty_list_with_its_key() -> None:
    after = unbind(SKILL, TOML, "dev", "assistant")
    assert changed(SKILL, after) == [
        "-[[profiles.dev.bindings]]",
        '-alias = "assistant"',
        '-models = ["openai:gpt-4o-mini"]  # Cheaper for development',
        "-",
    ]
    assert toml(after).profiles["dev"].bindings == {}
    assert models(bind(after, TOML, "dev", "assistant", ["a:b"]), "assistant", "dev") == ["a:b"]


def test_what_is_not_bound_cannot_be_unbound() -> None:
    with pytest.raises(UnknownAlias, match="did you mean 'summarizer'"):
        unbind(SKILL, TOML, "default", "sumarizer")
    with pytest.raises(UnknownProfile, match="did you mean 'prod'"):
        unbind(SKILL, TOML, "prd", "x")


def test_versions_and_pins_are_set_in_place() -> None:
    after = set_versions(AWKWARD, TOML, "default", {"openai": 7, "google": 5})
    assert changed(AWKWARD, after) == ["-openai = 6 # six", "+openai = 7 # six", "+google = 5"]
    assert set_versions(after, TOML, "default", {"openai": 7}) == after
    top = set_versions(DOCS, TOML, "default", {"openai": 187})
    assert changed(DOCS, top) == ["-openai = 186", "+openai = 187"]
    pinned = set_pins(SKILL, TOML, "default", "summarizer", {"openai:gpt-4o-mini": "ab"})
    assert changed(SKILL, pinned) == ['+pins = {"openai:gpt-4o-mini" = "ab"}']
    assert set_pins(pinned, TOML, "default", "summarizer", {"openai:gpt-4o-mini": "ab"}) == pinned


@pytest.mark.parametrize("text", [AWKWARD, SKILL, SITE, DOCS, SPECIFICATION])
def test_line_ends_and_byte_order_marks_stay_as_they_are(text: str) -> None:
    windows = "\ufeff" + text.replace("\n", "\r\n")
    after = bind(windows, TOML, "default", "new", ["a:b"])
    assert after.startswith("\ufeff")
    assert "\n" not in after.replace("\r\n", "")
    assert after.removeprefix("\ufeff").replace("\r\n", "\n") == bind(text, TOML, "default", "new", ["a:b"])


def test_json_keeps_its_order_and_unknown_keys() -> None:
    text = json.dumps(
        {"zeta": 1, "profiles": {"default": {"bindings": [{"alias": "x", "models": ["a:b"]}]}}, "metadata": {"q": 1}}
    )
    after = json.loads(bind(text, JSON, "default", "new", ["a:b"], constraints={"max_cost": 1.5}))
    assert list(after) == ["zeta", "profiles", "metadata"]
    assert after["profiles"]["default"]["bindings"][1] == {
        "alias": "new",
        "models": ["a:b"],
        "constraints": {"max_cost": 1.5},
    }
    assert json.loads(unbind(json.dumps(after), JSON, "default", "new")) == json.loads(text)


@pytest.mark.parametrize("is_json", [False, True])
def test_a_new_lockfile_says_what_it_was_given(is_json: bool) -> None:
    path = JSON if is_json else TOML
    text = new_lockfile({"default": {"fast": ["a:b", "c:d"]}, "prod": {}}, {"a": 3}, is_json=is_json)
    lockfile = parse_lockfile(text, path)
    assert [str(ref) for ref in lockfile.binding("fast").models] == ["a:b", "c:d"]
    assert lockfile.profiles["prod"].registry_versions == {"a": 3}
    assert (lockfile.notes, lockfile.forms) == ((), ("canonical",))


def test_an_empty_file_can_be_bound_in() -> None:
    assert models(bind("", TOML, "default", "x", ["a:b"]), "x") == ["a:b"]
    assert models(bind("# nothing yet", TOML, "default", "x", ["a:b"]), "x") == ["a:b"]


@pytest.mark.parametrize(
    "text",
    [
        # Dotted keys, tables out of order, a quoted profile, a profile inside a table.
        'profiles.default.bindings = [{ alias = "x", models = "a:b" }]\n',
        (
            '[profiles.default]\n[providers.openai]\nmax_in_flight = 3\n[[profiles.default.bindings]]\nalias = "x"\n'
            'models = "a:b"\n[profiles.prod]\nname = "prod"\n[profiles.default.registry_versions]\nopenai = 1\n'
        ),
        '[profiles."default"]\nname = "default"\n[[profiles."default".bindings]]\nalias = "x"\nmodels = "a:b"\n',
        '[profiles]\ndefault = { bindings = [{ alias = "x", models = "a:b" }] }\n',
        (
            '[[profiles.default.bindings]]\nalias = "x"\nmodels = "a:b"\n[profiles.default.bindings.constraints]\n'
            "temperature = 0.5 # half\n"
        ),
    ],
)
def test_any_layout_is_edited_right_or_refused(text: str) -> None:
    before = toml(text)
    for alias in ("x", "new"):
        try:
            after = toml(bind(text, TOML, "default", alias, ["c:d", "e:f"]))
        except EditRefused:
            continue
        assert [str(ref) for ref in after.binding(alias).models] == ["c:d", "e:f"]
        assert after.providers == before.providers
        assert after.profiles["default"].registry_versions == before.profiles["default"].registry_versions
        assert {**after.profiles["default"].bindings, alias: None} == {
            **before.profiles["default"].bindings,
            alias: None,
        }


SCATTERED = """\
[[profiles.default.bindings]]
alias = "x"
models = ["a:b"] # x
# Above dev.
[[profiles.dev.bindings]]
alias = "x"
models = ["a:b"]
# Above y.
[[profiles.default.bindings]]
alias = "y"
models = ["a:b"] # y
# Above z.
[[profiles.dev.bindings]]
alias = "z"
models = ["a:b"]
"""


def test_profiles_that_are_scattered_over_a_file_are_edited_by_lines() -> None:
    block = '\n[[profiles.default.bindings]]\nalias = "new"\nmodels = ["c:d"]\n'
    assert bind(SCATTERED, TOML, "default", "new", ["c:d"]) == SCATTERED + block
    assert changed(SCATTERED, unbind(SCATTERED, TOML, "default", "y")) == [
        "-[[profiles.default.bindings]]",
        '-alias = "y"',
        '-models = ["a:b"] # y',
    ]
    assert changed(SCATTERED, bind(SCATTERED, TOML, "dev", "x", ["c:d"])) == ['-models = ["a:b"]', '+models = ["c:d"]']


def test_what_cannot_be_edited_without_harm_is_refused() -> None:
    dotted = 'profiles.default.bindings = [{ alias = "x", models = "a:b" }]\nprofiles.dev.name = "dev"\n'
    with pytest.raises(EditRefused, match="cannot be edited without harm: edit it by hand"):
        set_versions(dotted, TOML, "default", {"openai": 7})


NAMES = st.sampled_from(["fast", "deep", "x/y", "a.b-c", "under_score"])
REFS = st.lists(
    st.sampled_from(["a:b", "openai:gpt-5", "ollama:llama3.3:70b", 'q:we"ird', "q:back\\slash"]),
    min_size=1,
    max_size=4,
    unique=True,
)
EDIT = st.tuples(st.sampled_from(["default", "dev", "new"]), NAMES, st.one_of(st.none(), REFS))


@given(st.sampled_from([AWKWARD, SKILL, SITE, DOCS, SPECIFICATION, SCATTERED, ""]), st.lists(EDIT, max_size=6))
def test_many_edits_in_a_row_leave_what_they_say_and_every_comment(
    text: str, edits: list[tuple[str, str, list[str] | None]]
) -> None:
    comments = [line.strip() for line in text.splitlines() if line.strip().startswith("#")]
    expected: dict[tuple[str, str], list[str]] = {
        (name, alias): [str(ref) for ref in binding.models]
        for name, profile in (toml(text).profiles if text else {}).items()
        for alias, binding in profile.bindings.items()
    }
    for profile, alias, refs in edits:
        if refs is not None:
            text = bind(text, TOML, profile, alias, refs)
            expected[profile, alias] = refs
        elif (profile, alias) in expected:
            text = unbind(text, TOML, profile, alias)
            del expected[profile, alias]
            # A comment inside of a binding that goes, goes with it.
            comments = [comment for comment in comments if comment in text]
    found = {
        (name, alias): [str(ref) for ref in binding.models]
        for name, profile in (toml(text).profiles if text else {}).items()
        for alias, binding in profile.bindings.items()
    }
    assert found == expected
    if not any(alias == "fast" for _, alias, _ in edits):
        assert [comment for comment in comments if comment not in text] == []
