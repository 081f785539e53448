"""The lockfile's commands as a user types them, without a key and without a network."""

import json
from pathlib import Path

import pytest

from tests.cli.terminal import KEY, Terminal

CHECKED = """
[extends]
packages = ["liba", "libb", "libc"]

[profiles.default]
[[profiles.default.bindings]]
alias = "myalias"
models = ["openai:gpt-5"]
"""

SUMMARIZER = '[[bindings]]\nalias = "summarizer"\nmodels = "anthropic:claude-haiku-4-5"\n'


def write(terminal: Terminal, text: str) -> Path:
    path = terminal.directory / "llmring.lock"
    path.write_text(text)
    return path


def install(terminal: Terminal, package: str, lockfile: str) -> None:
    directory = terminal.directory / "site" / package
    directory.mkdir(parents=True)
    (directory / "__init__.py").write_text("raise AssertionError('imported')")
    (directory / "llmring.lock").write_text(lockfile)
    paths = terminal.variables.get("PYTHONPATH", str(Path(__file__).parents[2]))
    terminal.variables["PYTHONPATH"] = f"{paths}:{terminal.directory / 'site'}"


def test_init_writes_the_file_that_the_other_commands_read(bare: Terminal) -> None:
    made = bare.run("lock", "init")
    path = bare.directory / "llmring.lock"
    assert made.code == 0
    assert f"✅ Created lockfile: {path}" in made.out
    assert "Default aliases:\n  fast → " in made.out
    assert bare.run("aliases").out.startswith("\nAliases in profile 'default':\n  fast → ")
    again = bare.run("lock", "init")
    assert (again.code, again.err) == (2, f"Error: {path} already exists. Use --force to overwrite\n")
    assert bare.run("lock", "init", "--force").code == 0


def test_init_binds_what_keys_are_there_for(bare: Terminal) -> None:
    bare.variables["ANTHROPIC_API_KEY"] = "k"
    aliases = bare.run("lock", "init", "--json").json()["aliases"]
    assert {model.partition(":")[0] for models in aliases.values() for model in models} == {"anthropic"}
    assert bare.run("lock", "validate").code == 0


def test_init_inside_a_package_says_how_it_is_shipped(bare: Terminal) -> None:
    package = bare.directory / "src" / "my_lib"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    build = '[project]\nname = "my-lib"\n[build-system]\nrequires = []\nbuild-backend = "hatchling.build"\n'
    (bare.directory / "pyproject.toml").write_text(build)
    made = bare.run("lock", "init", "--package")
    assert f"Found package directory: {package}" in made.out
    assert 'include = ["src/my_lib/**/*.py", "src/my_lib/**/*.lock"]' in made.out
    assert (package / "llmring.lock").is_file()


def test_init_for_a_package_needs_one(bare: Terminal) -> None:
    (bare.directory / "setup.py").touch()
    ended = bare.run("lock", "init", "--package")
    assert ended.code == 2
    assert "no package is developed here" in ended.err


def test_bind_says_what_it_did_in_the_words_that_users_know(bare: Terminal) -> None:
    first = bare.run("bind", "summarizer", "anthropic:claude-haiku-4-5")
    path = bare.directory / "llmring.lock"
    assert first.out == (
        f"No lockfile found at {path}\nCreating a new lockfile...\n"
        "✅ Bound 'summarizer' → 'anthropic:claude-haiku-4-5' in profile 'default'\n"
    )
    several = bare.run("bind", "balanced", "anthropic:claude-opus-5,openai:gpt-5", "--profile", "prod")
    assert several.out == (
        "✅ Bound 'balanced' → anthropic:claude-opus-5 in profile 'prod'\n   Fallbacks: openai:gpt-5\n"
    )
    assert bare.run("aliases", "--verbose", "--profile", "prod").out == (
        "balanced → anthropic:claude-opus-5 (+ 1 fallback)\n"
    )


def test_bind_resolves_a_pattern_with_constraints_and_explains(bare: Terminal) -> None:
    ended = bare.run("bind", "smart", "anthropic:*", "--min-context", "100000", "--max-cost", "10")
    assert ended.code == 0
    assert "✗ anthropic:claude-fable-5: costs $20 per million tokens, more than max_cost 10" in ended.out
    assert "✅ Bound 'smart' → anthropic:claude-opus-5" in ended.out
    text = (bare.directory / "llmring.lock").read_text()
    assert 'models_from = ["anthropic:*"]' in text
    assert "constraints = {min_context = 100000, max_cost = 10.0}" in text
    assert bare.run("lock", "validate", "--no-keys").code == 0


def test_a_wrong_binding_is_one_line_and_exit_code_2(bare: Terminal) -> None:
    ended = bare.run("bind", "fast", "gpt-4o-mini")
    assert (ended.code, ended.out) == (2, "")
    assert ended.err == (
        "Error: 'gpt-4o-mini' is not a model reference: expected 'provider:model', such as 'openai:gpt-4o'\n"
    )
    unknown = bare.run("bind", "fast", "openai:gpt-4o-mimi")
    assert unknown.code == 0
    assert "openai:gpt-4o-mimi is not in the registry: did you mean openai:gpt-4o-mini?" in unknown.err


def test_unbind_takes_an_alias_out(bare: Terminal) -> None:
    bare.run("bind", "a", "openai:gpt-5")
    bare.run("bind", "b", "openai:gpt-5")
    assert bare.run("unbind", "a").code == 0
    assert list(bare.run("aliases", "--json").json()["aliases"]) == ["b"]
    assert "unknown alias 'a'" in bare.run("unbind", "a").err


def test_validate_judges_every_model_and_fails_with_1(bare: Terminal) -> None:
    write(
        bare,
        '[[profiles.default.bindings]]\nalias = "x"\nmodels = ["openai:gpt-5", "openai:gpt-55", "ollama:any"]\n'
        '[[profiles.default.bindings]]\nalias = "dear"\nmodels = "openai:gpt-5"\nconstraints = { max_cost = 0.1 }\n',
    )
    ended = bare.run("lock", "validate", "--no-keys")
    assert ended.code == 1
    assert "  ✅ x → openai:gpt-5\n" in ended.out
    assert "  ❌ x → openai:gpt-55: is not in the registry: did you mean openai:gpt-5" in ended.out
    assert "  ⚠️  x → ollama:any: the registry knows no models of ollama: not checked\n" in ended.out
    assert "  ❌ dear → openai:gpt-5: costs $3.4375 per million tokens, more than max_cost 0.1\n" in ended.out
    assert ended.out.endswith("❌ Some bindings are invalid\n")
    with_keys = bare.run("lock", "validate", "--json").json()
    assert with_keys["valid"] is False
    assert "no key: set OPENAI_API_KEY" in with_keys["models"][0]["problems"]


def test_check_prints_what_the_documents_promise(bare: Terminal) -> None:
    path = write(bare, CHECKED)
    install(bare, "liba", SUMMARIZER + '[[bindings]]\nalias = "analyzer"\nmodels = "openai:gpt-5"\n')
    install(bare, "libb", SUMMARIZER)
    ended = bare.run("lock", "check")
    assert ended.code == 1
    assert (
        ended.out
        == f"""\
Checking lockfile: {path}

[extends]
  ✓ liba: found llmring.lock
    Aliases: summarizer, analyzer
  ✓ libb: found llmring.lock
    Aliases: summarizer
  ✗ libc: package not installed or has no llmring.lock

Warnings:
  ⚠ 'summarizer' defined in both liba and libb
    Use liba:summarizer or libb:summarizer to disambiguate

Local aliases:
  myalias → openai:gpt-5

Summary: 2/3 packages OK, 3 extended aliases, 1 local aliases
"""
    )
    install(bare, "libc", "[[bindings]]\nalias = 5\n")
    assert bare.run("lock", "check").code == 2
    write(bare, "broken = ")
    assert bare.run("lock", "check").code == 2
    write(bare, CHECKED.replace(', "libb", "libc"', ""))
    assert bare.run("lock", "check", "--json").json()["packages"][0]["aliases"] == ["summarizer", "analyzer"]


def test_why_explains_from_the_file_to_each_model(bare: Terminal) -> None:
    path = write(bare, CHECKED)
    install(bare, "liba", SUMMARIZER)
    bare.variables["ANTHROPIC_API_KEY"] = "k"
    ended = bare.run("lock", "why", "liba:summarizer")
    assert ended.code == 0
    assert f"  file:      {path} (by ./llmring.lock)\n" in ended.out
    assert "  package:   liba\n" in ended.out
    assert "1. anthropic:claude-haiku-4-5 (stands for anthropic:claude-haiku-4-5-20251001): asked first\n" in ended.out
    why = bare.run("lock", "why", "myalias", "--json").json()
    assert why["models"][0]["has_key"] is False
    assert len(why["digest"]) == 64
    missing = bare.run("lock", "why", "libc:x")
    assert (missing.code, "package not installed" in missing.err) == (2, True)


def test_drift_is_shown_and_fails_in_ci_with_3(bare: Terminal) -> None:
    write(
        bare, '[[profiles.default.bindings]]\nalias = "x"\nmodels = "openai:gpt-5"\npins = { "openai:gpt-5" = "0" }\n'
    )
    ended = bare.run("lock", "drift")
    assert ended.code == 0
    assert "default: openai: no version is pinned (now v7); `llmring lock bump-registry` pins it\n" in ended.out
    assert "openai:gpt-5" in ended.out
    assert bare.run("lock", "drift", "--ci").code == 3
    bumped = bare.run("lock", "bump-registry")
    assert "Updating registry versions...\n  openai: v7 (new)\n" in bumped.out
    assert bare.run("lock", "drift", "--ci").code == 0
    drift = bare.run("lock", "drift", "--json").json()["drift"]
    assert drift == [
        {"profile": "default", "provider": "openai", "pinned": 7, "current": 7, "compared": True, "changes": []}
    ]


def test_upgrade_shows_the_difference_and_asks(bare: Terminal) -> None:
    path = write(bare, '[aliases.default]\nfast = "openai:gpt-5" # quick\n')
    refused = bare.run("lock", "upgrade", stdin="n\n")
    assert '+models = ["openai:gpt-5"] # quick' in refused.out
    assert path.read_text().startswith("[aliases.default]")
    assert bare.run("lock", "upgrade", "--dry-run", "--json").json()["written"] is False
    agreed = bare.run("lock", "upgrade", stdin="y\n")
    assert f"✅ Upgraded {path}" in agreed.out
    assert 'models = ["openai:gpt-5"] # quick' in path.read_text()
    assert "in the canonical form already" in bare.run("lock", "upgrade").out


def test_providers_say_how_many_of_their_keys_are_used(terminal: Terminal) -> None:
    path = terminal.directory / "many.lock"
    path.write_text('[providers.openai]\napi_key_env = ["SIM_KEY", "KEY_NONE", "KEY_AGAIN"]')
    terminal.variables["KEY_AGAIN"] = KEY
    ended = terminal.run("providers", "--lockfile", str(path))
    assert "✓ openai       SIM_KEY, KEY_NONE, KEY_AGAIN (1 of 3 used)" in ended.out
    found = terminal.run("providers", "--lockfile", str(path), "--json").json()["openai"]
    assert (found["key_variables"], found["keys_set"]) == (["SIM_KEY", "KEY_NONE", "KEY_AGAIN"], ["SIM_KEY"])
    assert KEY not in ended.out


def test_providers_say_which_keys_are_set_and_never_show_one(terminal: Terminal) -> None:
    ended = terminal.run("providers")
    assert ended.code == 0
    assert ended.out.startswith("Configured Providers:\n----------------------------------------\n✓ openai ")
    assert "✗ google       GEMINI_API_KEY or GOOGLE_API_KEY or GOOGLE_GEMINI_API_KEY\n" in ended.out
    found = terminal.run("providers", "--json").json()
    assert found["openai"] == {
        "ready": True,
        "key_variables": ["SIM_KEY"],
        "keys_set": ["SIM_KEY"],
        "needs_key": True,
        "kind": "openai",
        "base_url": found["openai"]["base_url"],
    }


@pytest.mark.parametrize(
    "arguments",
    [
        ["aliases"],
        ["lock", "validate"],
        ["lock", "check"],
        ["lock", "drift"],
        ["lock", "bump-registry"],
        ["lock", "upgrade"],
        ["unbind", "x"],
    ],
)
def test_without_a_lockfile_every_command_says_how_to_get_one(bare: Terminal, arguments: list[str]) -> None:
    ended = bare.run(*arguments)
    assert (ended.code, ended.out) == (2, "")
    assert "llmring.lock" in ended.err
    assert "no such file" in ended.err


def test_shells_can_complete_aliases_and_models(bare: Terminal) -> None:
    write(bare, '[[profiles.default.bindings]]\nalias = "summarizer"\nmodels = "openai:gpt-5"\n')
    bare.variables |= {"_LLMRING_COMPLETE": "bash_complete", "COMP_WORDS": "llmring unbind su", "COMP_CWORD": "2"}
    assert bare.run().out == "plain,summarizer\n"
    for words, count in (("llmring chat -m su", "3"), ("llmring map su", "2"), ("llmring info su", "2")):
        bare.variables |= {"COMP_WORDS": words, "COMP_CWORD": count}
        assert bare.run().out == "plain,summarizer\n"
    bare.variables |= {"COMP_WORDS": "llmring bind x anthropic:claude-opus-5,openai:gpt-5-na", "COMP_CWORD": "3"}
    assert "plain,anthropic:claude-opus-5,openai:gpt-5-nano\n" in bare.run().out


def test_json_is_the_only_thing_on_standard_output(bare: Terminal) -> None:
    bare.run("lock", "init")
    for arguments in (["lock", "validate"], ["lock", "check"], ["lock", "drift"], ["aliases"], ["providers"]):
        json.loads(bare.run(*arguments, "--json").out)


def test_an_alias_of_a_package_can_be_asked_and_mapped(terminal: Terminal) -> None:
    install(terminal, "libchat", '[[bindings]]\nalias = "talker"\nmodels = "openai:gpt-4o-mini"\n')
    path = terminal.directory / "llmring.lock"
    path.write_text('[extends]\npackages = ["libchat"]\n' + path.read_text())
    answer = terminal.run("chat", "hello", "-m", "libchat:talker", "--json").json()
    assert (answer["alias"], answer["model"]) == ("libchat:talker", "openai:gpt-4o-mini")
    (terminal.directory / "rows.jsonl").write_text('"a"\n"b"\n')
    assert len(terminal.run("map", "libchat:talker", "rows.jsonl").lines()) == 2
    assert terminal.run("info", "libchat:talker").code == 0
    assert "libchat:talker → openai:gpt-4o-mini" in terminal.run("aliases").out
