"""`llmring chat`: one question, one answer on standard output."""

import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import click
import msgspec
import trio

from llmring.chat import ChatChunk, ChatRequest, ChatResponse, Effort
from llmring.cli.formats import effort_option, read_schema, schema_option
from llmring.cli.names import complete_either
from llmring.cli.running import Failed, check_is_ours, failing_cleanly, note, open_lockfile, run_trio
from llmring.cli.spelling import answer_json, cost_json, error_json, notes_json, tool_call_json, usage_json
from llmring.cli.tracing import telemetry, trace_option
from llmring.config import read_settings
from llmring.errors import ConfigError, InvalidRequest, LLMRingError, StreamBroken
from llmring.lockfile import Lockfile
from llmring.prompts import to_request
from llmring.router.opening import open_router
from llmring.router.router import Router
from llmring.telemetry.telemetry import Telemetry

USUAL_ALIAS = "fast"
DELETE_SECONDS = 10.0


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """The command line, as it was given."""

    prompt: str | None
    model: str | None
    system: str | None
    stream: bool
    as_json: bool
    verbose: bool
    temperature: float | None
    max_tokens: int | None
    effort: Effort | None
    schema: Path | None
    files: tuple[Path, ...]
    timeout: float | None
    trace: Path | None
    profile: str | None
    lockfile: str | None


@click.command(
    epilog="""\b
    Examples:
      llmring chat "What is a lockfile?" --model summarizer
      llmring chat -m openai:gpt-4o-mini --stream < notes.txt
      git diff | llmring chat -s "Write a commit message." -m writer
      llmring chat -m reader -f invoice.pdf --schema invoice.schema.json "Read this invoice."
    """
)
@click.argument("words", metavar="[PROMPT]", nargs=-1)
@click.option(
    "-m",
    "--model",
    shell_complete=complete_either,
    help="An alias of the lockfile, or provider:model. Default: 'fast', or the only alias.",
)
@click.option("-s", "--system", help="A system message.")
@click.option("--stream", is_flag=True, help="Show the text as it comes. With --json: one JSON object a line.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON: the answer with usage and cost, or the error.")
@click.option("-v", "--verbose", is_flag=True, help="Say on standard error who answered, for how much, and why.")
@click.option("--temperature", type=float, help="Sent only when given.")
@click.option("--max-tokens", type=int, help="The longest answer, in tokens.")
@effort_option
@schema_option
@click.option(
    "-f",
    "--file",
    "files",
    metavar="FILE",
    multiple=True,
    type=click.Path(path_type=Path),
    help="An image, PDF, sound or text to go with the prompt. May be repeated.",
)
@click.option("--timeout", type=float, help="Seconds for the whole call, waiting included. Default: 600.")
@trace_option
@click.option("--profile", help="A profile of the lockfile. Default: LLMRING_PROFILE, then the lockfile's.")
@click.option("--lockfile", metavar="FILE", help="Default: LLMRING_LOCKFILE_PATH, then ./llmring.lock.")
def command(words: tuple[str, ...], **given: Any) -> int:
    """Ask a model and print its answer.

    Without PROMPT, or with '-', the prompt is read from standard input. A PROMPT of several words needs no quotes.
    """
    # Joined and not refused: a refusal would repeat them.
    options = Options(prompt=" ".join(words) if words else None, **given)
    try:
        with failing_cleanly(), telemetry(options.trace) as told:
            run_trio(lambda: ask(options, told))
    except Failed as failed:
        if options.as_json:
            print_json({"error": error_json(failed.error)})
        raise
    return 0


async def ask(options: Options, told: Telemetry | None) -> None:
    """Make the call. Raises LLMRingError."""
    lockfile = open_lockfile(options.lockfile)
    request = to_request(
        _model(options, lockfile),
        _prompt(options.prompt),
        system=options.system,
        temperature=options.temperature,
        max_tokens=options.max_tokens,
        reasoning_effort=options.effort,
        response_format=read_schema(options.schema),
        timeout=options.timeout,
    )
    if options.verbose:
        for remark in lockfile.notes:
            note(f"{lockfile.path}: {remark}")
    async with open_router(lockfile, profile=options.profile, telemetry=told) as router:
        start = trio.current_time()
        ask_router = _stream if options.stream else _whole
        async with _attached(router, request, options.files) as attached:
            response = await ask_router(router, attached, options)
        if options.verbose:
            tell(response, trio.current_time() - start)
        if response.finish_reason == "length":
            note("(the answer was cut off at its longest: --max-tokens)")


@asynccontextmanager
async def _attached(router: Router, request: ChatRequest, files: tuple[Path, ...]) -> AsyncGenerator[ChatRequest]:
    """The request with files of this machine; copies that were made at providers are deleted afterwards."""
    ids: list[str] = []
    for path in files:
        try:
            ids.append(router.register_file(path))
        except OSError as error:
            raise InvalidRequest(f"file {path}: {str(error.strerror or error).lower()}") from None
    try:
        yield msgspec.structs.replace(request, files=tuple(ids))
    finally:
        for file_id in ids:
            await _forget(router, file_id)  # noqa: ASYNC102 - shields itself


async def _forget(router: Router, file_id: str) -> None:
    """Delete a file's copies. The answer stands whatever comes of it; a copy that stays is worth a word."""
    with trio.move_on_after(DELETE_SECONDS, shield=True):
        try:
            await router.deregister_file(file_id)
        except LLMRingError as error:
            note(f"a copy of a file was not deleted: {error}")


async def _whole(router: Router, request: ChatRequest, options: Options) -> ChatResponse:
    response = await router.chat(request)
    if options.as_json:
        print_json(answer_json(response))
    else:
        click.echo(response.content)
    return response


async def _stream(router: Router, request: ChatRequest, options: Options) -> ChatResponse:
    try:
        async with router.stream(request) as stream:
            async for chunk in stream:
                show(chunk, as_json=options.as_json)
            assert stream.response is not None, "a stream that ended has a response"
            return stream.response
    except StreamBroken:
        if not options.as_json:
            click.echo()  # ends the line that was being written
        raise


def show(chunk: ChatChunk, *, as_json: bool) -> None:
    """One piece of a stream: text, or an object a line."""
    if as_json:
        print_json(chunk_json(chunk))
    else:
        click.echo(chunk.content, nl=chunk.finish_reason is not None)
    sys.stdout.flush()


def chunk_json(chunk: ChatChunk) -> dict[str, Any]:
    spelled: dict[str, Any] = {"content": chunk.content, "model": str(chunk.model)}
    if chunk.reasoning:
        spelled["reasoning"] = chunk.reasoning
    if chunk.finish_reason is not None:
        spelled["finish_reason"] = chunk.finish_reason
        spelled["usage"] = usage_json(chunk.usage)
        spelled["tool_calls"] = [tool_call_json(call) for call in chunk.tool_calls]
        spelled |= {"parsed": chunk.parsed} if chunk.parsed is not None else {}
        spelled |= notes_json(chunk.notes)
        if chunk.cost is not None:
            spelled |= cost_json(chunk.cost)
    return spelled


def print_json(value: dict[str, Any]) -> None:
    click.echo(msgspec.json.encode(value))


def tell(response: ChatResponse, seconds: float) -> None:
    """Who answered, after what, in how long, for how much."""
    for attempt in response.attempts[:-1]:
        note(f"- {attempt}")
    usage = response.usage
    tokens = f"{usage.total_input_tokens} tokens in, {usage.total_output_tokens} out" if usage else "tokens unknown"
    cost = response.cost
    usd = f"${cost.usd:f}" if cost.usd is not None else f"cost unknown: {cost.why_unknown}"
    for remark in response.notes:
        note(f"- {remark}")
    note(f"{response.model} answered in {seconds:.2f} s: {tokens}, {usd}")


def _prompt(argument: str | None) -> str:
    """The argument, or all of standard input."""
    if argument is not None and argument != "-":
        if not argument.strip():
            raise InvalidRequest("the prompt is empty")
        return argument
    if sys.stdin is None or (argument is None and sys.stdin.isatty()):
        raise InvalidRequest("there is no prompt: give one as an argument, or on standard input")
    try:
        text = sys.stdin.buffer.read().decode()
    except UnicodeDecodeError as error:
        raise InvalidRequest("standard input is not text: it is not UTF-8") from error
    if not text.strip():
        raise InvalidRequest("the prompt on standard input is empty")
    return text


def _model(options: Options, lockfile: Lockfile) -> str:
    """The alias or model to ask. Raises ConfigError that lists what there is."""
    if options.model is not None:
        check_is_ours(lockfile, options.model)
        return options.model
    name = options.profile or read_settings().profile or lockfile.default_profile
    aliases = list(lockfile.profile(name).bindings) if lockfile.profiles else []
    if USUAL_ALIAS in aliases:
        return USUAL_ALIAS
    check_is_ours(lockfile, USUAL_ALIAS)
    if len(aliases) == 1:
        return aliases[0]
    known = ", ".join(aliases) if aliases else "none"
    raise ConfigError(f"which model? Give --model: an alias of {lockfile.path} ({known}), or provider:model")
