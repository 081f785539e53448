"""lockfile/lines.py: from an address in the parsed value back to its line, in files as people write them."""

import json
import tomllib
from typing import Any

import pytest
import tomlkit
from hypothesis import given
from hypothesis import strategies as st

from llmring.lockfile.lines import Address, find_line

AWKWARD = '''# [profiles.commented]
version = "1.0" # [profiles.default]
text = """
[profiles.default]
alias = "x" \\""" """""
literal = \'\'\'
[[profiles.default.bindings]]\'\'\'\'\'

[ profiles . "default" ]
  name = '[profiles.default]'
[[profiles.default.bindings]]
alias = "a"
[[ profiles."default".'bindings' ]]
alias = "b"
models = [
  "x:1",  # ], "no"
  # nothing
  "x:2",
]
[profiles.prod]
bindings = [
  {alias = "c", models = "x:3"}, { alias = """
d""", models = "x:4" },
]
[providers.openai]
headers.X-A = "1"
headers."X.B" = "2"
requests_per_minute = 1.5
when = 2026-01-01 07:00:00
"max_in\\u005fflight" = 3
[profiles.default.registry_versions]
openai = 1
'''


@pytest.mark.parametrize(
    ("address", "line"),
    [
        (("version",), 2),
        (("text",), 3),
        (("literal",), 6),
        (("profiles",), 9),
        (("profiles", "default"), 9),
        (("profiles", "default", "name"), 10),
        (("profiles", "default", "bindings"), 11),
        (("profiles", "default", "bindings", 0), 11),
        (("profiles", "default", "bindings", 0, "alias"), 12),
        (("profiles", "default", "bindings", 1), 13),
        (("profiles", "default", "bindings", 1, "alias"), 14),
        (("profiles", "default", "bindings", 1, "models"), 15),
        (("profiles", "default", "bindings", 1, "models", 0), 16),
        (("profiles", "default", "bindings", 1, "models", 1), 18),
        (("profiles", "prod", "bindings", 0, "models"), 22),
        (("profiles", "prod", "bindings", 1, "alias"), 22),
        (("profiles", "prod", "bindings", 1, "models"), 23),
        (("providers", "openai", "headers"), 26),
        (("providers", "openai", "headers", "X.B"), 27),
        (("providers", "openai", "requests_per_minute"), 28),
        (("providers", "openai", "max_in_flight"), 30),
        (("profiles", "default", "registry_versions", "openai"), 32),
        (("profiles", "commented"), None),
        (("profiles", "default", "bindings", 2), None),
        (("profiles", "default", "bindings", 1, "models", 2), None),
    ],
)
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_an_awkward_toml_file_gives_the_right_line_or_none(address: Address, line: int | None, newline: str) -> None:
    tomllib.loads(AWKWARD)
    assert find_line(AWKWARD.replace("\n", newline), address, is_json=False) == line


JSON = r"""
{ "profiles": { "default": {
    "name": "alias \" : [",
    "bindings": [ {"alias": "a",
      "models": ["x:1",
                 "x:2"]},
      {"al\u0069as"
       : "b"}
    ] } },
  "n": [1.5e3, -2, true, null,
        {}, [], [[7]]], "last": "\\"
}
"""


@pytest.mark.parametrize(
    ("address", "line"),
    [
        ((), 2),
        (("profiles", "default"), 2),
        (("profiles", "default", "bindings"), 4),
        (("profiles", "default", "bindings", 0, "models", 1), 6),
        (("profiles", "default", "bindings", 1), 7),
        (("profiles", "default", "bindings", 1, "alias"), 7),
        (("n", 3), 10),
        (("n", 6, 0, 0), 11),
        (("last",), 11),
        (("x:2",), None),
    ],
)
def test_an_awkward_json_file_gives_the_right_line_or_none(address: Address, line: int | None) -> None:
    json.loads(JSON)
    assert find_line(JSON, address, is_json=True) == line


NAMES = st.sampled_from(["a", "b-c", "d.e", "f g", "=", "[x]", "#", '"', "'", "é", "1", ""])
TREES = st.dictionaries(
    NAMES,
    st.recursive(
        st.just(0),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
        max_leaves=8,
    ),
    max_size=4,
)


def numbered(value: Any, leaves: dict[Address, str], address: Address = ()) -> Any:
    """The tree with a marker of its own in each leaf, and the markers by address."""
    if isinstance(value, dict):
        return {key: numbered(item, leaves, (*address, key)) for key, item in value.items()}
    if isinstance(value, list):
        return [numbered(item, leaves, (*address, number)) for number, item in enumerate(value)]
    leaves[address] = f"marker-{len(leaves)}-"
    return leaves[address]


def assert_lines(text: str, leaves: dict[Address, str], *, is_json: bool) -> None:
    lines = text.split("\n")
    for address, marker in leaves.items():
        line = find_line(text, address, is_json=is_json)
        assert line is not None
        assert marker in lines[line - 1]


@given(TREES)
def test_in_any_toml_that_a_writer_writes_every_value_is_found(tree: dict[str, Any]) -> None:
    leaves: dict[Address, str] = {}
    text = tomlkit.dumps(numbered(tree, leaves))
    assert_lines(text, leaves, is_json=False)


@given(TREES, st.sampled_from([None, 0, 2]))
def test_in_any_json_that_a_writer_writes_every_value_is_found(tree: dict[str, Any], indent: int | None) -> None:
    leaves: dict[Address, str] = {}
    text = json.dumps(numbered(tree, leaves), indent=indent)
    assert_lines(text, leaves, is_json=True)


@given(st.text(alphabet="[]{}=:.,#\"'\\\n\r ab1", max_size=60), st.booleans())
def test_text_that_is_not_understood_gives_no_line(text: str, is_json: bool) -> None:
    assert find_line(text, ("nowhere", 0), is_json=is_json) is None
