"""config.py: who names the lockfile, and what a key may look like."""

import os
from pathlib import Path

import pytest

from llmring.config import (
    BUNDLED_LOCKFILE,
    Exports,
    Settings,
    find_lockfile,
    read_base_url,
    read_exports,
    read_key,
    read_keys,
    read_settings,
    status_directory,
)
from llmring.errors import ConfigError, LockfileMissing
from llmring.lockfile import read_lockfile
from llmring.registry.store import read_bundled


@pytest.mark.parametrize(
    ("environ", "settings"),
    [
        ({}, Settings()),
        ({"LLMRING_LOCKFILE_PATH": "", "LLMRING_PROFILE": "  "}, Settings()),
        ({"LLMRING_LOCKFILE_PATH": "a/b.lock"}, Settings(lockfile_path=Path("a/b.lock"))),
        ({"LLMRING_PROFILE": " prod "}, Settings(profile="prod")),
        ({"LLMRING_STATE": " "}, Settings()),
        ({"LLMRING_STATE": "Off", "HOME": ""}, Settings()),
        ({"LLMRING_STATE": "var/state"}, Settings(state_directory=Path("var/state"))),
        ({"XDG_STATE_HOME": "/state"}, Settings(state_directory=Path("/state/llmring"))),
        ({"LLMRING_STATE": "off", "XDG_STATE_HOME": "/state"}, Settings()),
        ({"LLMRING_STATE": "on", "XDG_STATE_HOME": "/state"}, Settings(state_directory=Path("/state/llmring"))),
        ({"XDG_STATE_HOME": "relative"}, Settings()),
        ({"LLMRING_STATUS": " "}, Settings()),
        ({"LLMRING_STATUS": " On "}, Settings(status=True)),
        ({"LLMRING_STATUS": "off"}, Settings(status=False)),
        ({"LLMRING_STATUS": "/run/app"}, Settings(status=Path("/run/app"))),
        ({"LLMRING_TRACE_CONTENT": "1"}, Settings(trace_content=True)),
        ({"OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT": "True"}, Settings(trace_content=True)),
        ({"OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT": "SPAN_AND_EVENT"}, Settings(trace_content=True)),
        ({"OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT": "EVENT_ONLY"}, Settings()),
        (
            {"LLMRING_TRACE_CONTENT": "0", "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT": "true"},
            Settings(),
        ),
    ],
)
def test_a_blank_variable_is_not_set(environ: dict[str, str], settings: Settings) -> None:
    assert read_settings(environ) == settings


@pytest.mark.parametrize(
    ("environ", "exports"),
    [
        ({}, Exports()),
        ({"ENDPOINT": "http://c"}, Exports(spans=True, metrics=True)),
        ({"TRACES_ENDPOINT": "http://c"}, Exports(spans=True)),
        ({"METRICS_ENDPOINT": "http://c", "PROTOCOL": "http/protobuf"}, Exports(metrics=True)),
        ({"ENDPOINT": "http://c", "PROTOCOL": "grpc"}, Exports(other_protocol="grpc")),
        ({"PROTOCOL": "grpc"}, Exports()),
    ],
)
def test_what_is_exported_is_what_has_an_endpoint(environ: dict[str, str], exports: Exports) -> None:
    named = {f"OTEL_EXPORTER_OTLP_{name}": value for name, value in environ.items()}
    assert read_exports(named) == exports
    assert read_exports({**named, "OTEL_SDK_DISABLED": "true"}) == Exports(is_off=True)
    if exports.spans and exports.metrics:
        assert read_exports({**named, "OTEL_TRACES_EXPORTER": "none"}) == Exports(metrics=True)
        assert read_exports({**named, "OTEL_METRICS_EXPORTER": "console, otlp"}) == exports


def test_settings_are_read_when_asked_for_and_not_at_import(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LLMRING_PROFILE", "later")
    assert read_settings().profile == "later"


def test_the_argument_comes_before_the_variable_before_the_directory_before_the_bundled_file(
    tmp_path: Path,
) -> None:
    argument, variable, local = tmp_path / "a.lock", tmp_path / "v.lock", tmp_path / "llmring.lock"
    for path in (argument, variable, local):
        path.write_text("")
    named = Settings(lockfile_path=variable)
    assert find_lockfile(argument, named, tmp_path) == argument
    assert find_lockfile(str(argument), named, tmp_path) == argument
    assert find_lockfile(None, named, tmp_path) == variable
    assert find_lockfile(None, Settings(), tmp_path) == local
    local.unlink()
    assert find_lockfile(None, Settings(), tmp_path) == BUNDLED_LOCKFILE


def test_a_relative_name_starts_at_the_directory_and_a_tilde_at_home(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "x.lock").write_text("")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert find_lockfile("x.lock", Settings(), tmp_path) == tmp_path / "x.lock"
    assert find_lockfile("~/x.lock", Settings(), Path("/")) == tmp_path / "x.lock"


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("gone.lock", "no such file"),
        ("folder", "is a directory, not a file"),
        ("file/x.lock", "not a directory"),
        ("nul\0.lock", "embedded null byte"),
    ],
)
def test_a_lockfile_that_was_named_must_exist_and_the_error_says_who_named_it(
    tmp_path: Path, name: str, why: str
) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("")
    (tmp_path / "llmring.lock").write_text("")
    with pytest.raises(LockfileMissing) as caught:
        find_lockfile(name, Settings(), tmp_path)
    assert caught.value.why == f"{why} (named by the lockfile argument)"
    with pytest.raises(LockfileMissing) as caught:
        find_lockfile(None, Settings(lockfile_path=Path(name)), tmp_path)
    assert caught.value.why == f"{why} (named by LLMRING_LOCKFILE_PATH)"
    assert caught.value.path == tmp_path / name


def test_a_broken_link_in_the_directory_is_not_passed_over(tmp_path: Path) -> None:
    (tmp_path / "llmring.lock").symlink_to(tmp_path / "gone")
    found = find_lockfile(None, Settings(), tmp_path)
    with pytest.raises(LockfileMissing):
        read_lockfile(found)


def test_the_bundled_lockfile_binds_the_advisor_to_active_models_and_nothing_else() -> None:
    lockfile = read_lockfile(BUNDLED_LOCKFILE)
    assert lockfile.notes == ()
    assert list(lockfile.profiles["default"].bindings) == ["advisor"]
    facts = [read_bundled().get(ref) for ref in lockfile.binding("advisor").models]
    assert facts
    assert all(fact is not None and fact.is_active for fact in facts)


def test_the_status_is_in_the_runtime_directory_or_in_one_of_this_user_among_the_temporary_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", "/somewhere")
    temporary = Path(f"/somewhere/llmring-{os.geteuid()}")
    runtime = {"XDG_RUNTIME_DIR": str(tmp_path)}
    assert status_directory(None, runtime) == tmp_path / "llmring"
    assert status_directory("~/here", runtime) == tmp_path / "here"
    for absent in ("", "relative", str(tmp_path / "gone"), "/nul\0"):
        assert status_directory(None, {"XDG_RUNTIME_DIR": absent}) == temporary
    with pytest.raises(ConfigError, match="not 'here'"):
        status_directory("here", runtime)


@pytest.mark.parametrize(
    ("environ", "key"),
    [
        ({}, None),
        ({"A": ""}, None),
        ({"A": " \n"}, None),
        ({"A": "sk-1", "B": "sk-2"}, "sk-1"),
        ({"A": "  ", "B": "sk-2"}, "sk-2"),
        ({"A": " sk-1\r\n"}, "sk-1"),
    ],
)
def test_the_first_variable_that_is_not_blank_gives_the_key(environ: dict[str, str], key: str | None) -> None:
    assert read_key(["A", "B"], environ) == key


def test_keys_by_variable_are_all_that_are_set_and_each_once() -> None:
    environ = {"A": " sk-1 ", "B": " ", "C": "sk-2", "D": "sk-1"}
    assert list(read_keys(["C", "A", "B", "D", "E"], environ).items()) == [("C", "sk-2"), ("A", "sk-1")]


@pytest.mark.parametrize("value", ["sk-1\nsk-2", "sk-\x00", "sk-\x7f1", "sk-1\tx", "sk-\u200b1", "sk-é"])
def test_a_key_that_no_header_can_carry_is_refused_by_the_name_of_its_variable(value: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read_key(["OPENAI_API_KEY"], {"OPENAI_API_KEY": value})
    assert "OPENAI_API_KEY holds a character that no key has" in str(caught.value)
    assert "sk-" not in str(caught.value)
    assert "sk-" not in repr(caught.value)


@pytest.mark.parametrize(
    ("provider", "value", "url"),
    [
        ("ollama", "http://gpu:11434/", "http://gpu:11434"),
        ("ollama", " ", None),
        ("openai", "http://gpu:11434", None),
    ],
)
def test_the_environment_may_say_where_a_provider_is(provider: str, value: str, url: str | None) -> None:
    assert read_base_url(provider, {"OLLAMA_BASE_URL": value}) == url


def test_what_is_no_url_is_refused_by_the_name_of_its_variable() -> None:
    with pytest.raises(ConfigError, match="OLLAMA_BASE_URL must be an http or https URL"):
        read_base_url("ollama", {"OLLAMA_BASE_URL": "gpu:11434"})


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_lockfile_behind_a_closed_door_says_permission_denied(tmp_path: Path) -> None:
    door = tmp_path / "door"
    door.mkdir(mode=0o000)
    with pytest.raises(LockfileMissing, match="permission denied"):
        find_lockfile(door / "x.lock", Settings(), tmp_path)
