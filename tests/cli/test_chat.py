"""`llmring chat` as a user types it."""

import pytest

from tests.cli.terminal import Terminal

ANSWER = "echo: hello and so on"


def test_the_answer_alone_is_on_standard_output(terminal: Terminal) -> None:
    ended = terminal.run("chat", "hello", "--model", "summarizer")
    assert ended.code == 0
    assert ended.out.startswith(ANSWER)
    assert ended.err == ""


def test_a_stream_says_the_same(terminal: Terminal) -> None:
    whole = terminal.run("chat", "hello", "-m", "summarizer")
    stream = terminal.run("chat", "hello", "-m", "summarizer", "--stream")
    assert stream.out == whole.out


@pytest.mark.parametrize("arguments", [["-m", "summarizer"], ["-", "-m", "summarizer"]])
def test_the_prompt_may_come_on_standard_input(terminal: Terminal, arguments: list[str]) -> None:
    assert terminal.run("chat", *arguments, stdin="hello").out.startswith(ANSWER)


def test_json_holds_answer_usage_and_exact_cost(terminal: Terminal) -> None:
    answer = terminal.run("chat", "hello", "-m", "summarizer", "--json").json()
    assert answer["content"].startswith(ANSWER)
    assert (answer["model"], answer["alias"]) == ("openai:gpt-4o-mini", "summarizer")
    assert answer["usage"]["total_tokens"] == answer["usage"]["input_tokens"] + answer["usage"]["output_tokens"]
    assert float(answer["cost_usd"]) > 0
    assert answer["cost_status"] == "priced"
    assert [attempt["outcome"] for attempt in answer["attempts"]] == ["answered"]


def test_a_stream_in_json_is_an_object_a_line_and_the_last_one_has_the_cost(terminal: Terminal) -> None:
    chunks = terminal.run("chat", "hello", "-m", "summarizer", "--json", "--stream").lines()
    assert "".join(chunk["content"] for chunk in chunks).startswith(ANSWER)
    assert [("cost_usd" in chunk) for chunk in chunks] == [False] * (len(chunks) - 1) + [True]


def test_options_reach_the_provider(terminal: Terminal) -> None:
    ended = terminal.run(
        "chat", "hello", "-m", "summarizer", "--max-tokens", "2", "--temperature", "0", "-s", "be brief"
    )
    assert ended.out == "echo: he\n"
    assert "cut off" in ended.err


def test_verbose_says_who_answered_and_for_how_much(terminal: Terminal) -> None:
    ended = terminal.run("chat", "hello", "-m", "summarizer", "-v")
    assert "openai:gpt-4o-mini answered in" in ended.err
    assert "tokens in" in ended.err
    assert "$0.0000" in ended.err


@pytest.mark.parametrize("as_json", [False, True])
def test_a_failed_request_ends_with_1_and_every_attempt(terminal: Terminal, as_json: bool) -> None:
    ended = terminal.run("chat", "hello", "-m", "broken", *(["--json"] if as_json else []))
    assert ended.code == 1
    assert ended.err.count("ServerFault") == 2
    if as_json:
        error = ended.json()["error"]
        assert error["type"] == "AllModelsFailed"
        assert len(error["attempts"]) == 2
    else:
        assert ended.out == ""


SETUP_ERRORS = {
    "no lockfile": (["chat", "hi", "-m", "summarizer"], "there is no ./llmring.lock"),
    "no lockfile, no model": (["chat", "hi"], "there is no ./llmring.lock"),
    "a lockfile that is not there": (["chat", "hi", "--lockfile", "gone.lock"], "gone.lock: no such file"),
    "no key": (["chat", "hi", "-m", "openai:gpt-4o-mini"], "no key for openai: set OPENAI_API_KEY"),
    "unknown provider": (["chat", "hi", "-m", "opnai:gpt-4o"], "did you mean 'openai'?"),
    "no prompt": (["chat", "-m", "openai:gpt-4o-mini"], "the prompt on standard input is empty"),
    "not a model": (["chat", "hi", "-m", "openai:"], "not a model reference"),
    "a wrong number": (["chat", "hi", "-m", "openai:gpt-4o-mini", "--max-tokens", "0"], "max_tokens"),
}


@pytest.mark.parametrize("name", SETUP_ERRORS)
@pytest.mark.parametrize("as_json", [False, True])
def test_a_wrong_setup_ends_with_2_and_says_what_to_do(bare: Terminal, name: str, as_json: bool) -> None:
    arguments, message = SETUP_ERRORS[name]
    ended = bare.run(*arguments, *(["--json"] if as_json else []))
    assert ended.code == 2
    assert message in ended.err
    if as_json:
        assert message in ended.json()["error"]["message"]
    else:
        assert ended.out == ""


def test_an_unknown_alias_names_the_nearest(terminal: Terminal) -> None:
    ended = terminal.run("chat", "hi", "-m", "sumarizer")
    assert (ended.code, ended.out) == (2, "")
    assert "did you mean 'summarizer'?" in ended.err


def test_several_aliases_and_none_named_lists_them(terminal: Terminal) -> None:
    ended = terminal.run("chat", "hi")
    assert ended.code == 2
    assert "summarizer, broken" in ended.err


def test_bad_toml_is_named_with_its_line(terminal: Terminal) -> None:
    path = terminal.directory / "llmring.lock"
    path.write_text(path.read_text() + "\n[[oops\n")
    ended = terminal.run("chat", "hi", "-m", "summarizer")
    assert ended.code == 2
    assert "llmring.lock, line 18: not TOML" in ended.err


def test_an_unknown_profile_is_named(terminal: Terminal) -> None:
    ended = terminal.run("chat", "hi", "-m", "summarizer", "--profile", "prod")
    assert ended.code == 2
    assert "unknown profile 'prod'" in ended.err


def test_input_that_is_not_text_is_refused(terminal: Terminal) -> None:
    ended = terminal.run("chat", "-m", "summarizer", stdin=b"\xff\xfe\x00")
    assert ended.code == 2
    assert "not UTF-8" in ended.err


@pytest.mark.parametrize("arguments", [["chat", "--nonsense"], ["nonsense"], ["chat", "hi", "--temperature", "warm"]])
def test_a_wrong_command_line_ends_with_2(bare: Terminal, arguments: list[str]) -> None:
    assert bare.run(*arguments).code == 2


@pytest.mark.parametrize("as_json", [False, True])
def test_a_stream_that_breaks_shows_what_came_and_ends_with_1(terminal: Terminal, as_json: bool) -> None:
    ended = terminal.run("chat", "hello", "-m", "openai:fault-cut", "--stream", *(["--json"] if as_json else []))
    assert ended.code == 1
    assert "stream broke after 8 characters" in ended.err
    if as_json:
        *chunks, error = ended.lines()
        assert "".join(chunk["content"] for chunk in chunks) == "echo: he"
        assert error["error"]["type"] == "StreamBroken"
    else:
        assert ended.out == "echo: he\n"
