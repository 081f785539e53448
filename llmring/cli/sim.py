"""`llmring sim`: the provider simulator."""

from pathlib import Path

import click

from llmring.cli.running import Failed
from llmring.errors import ConfigError


@click.command(
    epilog="""\b
    Prints one line of JSON when it listens: {"url": "http://127.0.0.1:8080", "pid": 4711}
    Under /<provider> it speaks OpenAI's formats (base URL ending in /v1), Anthropic's, Gemini's and
    Ollama's. What it counted is at /__stats. The model's name asks for faults: gpt-sim+cut, fault-hang.
    """
)
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option("--port", default=0, show_default=True, help="The port; 0 takes a free one.")
@click.option(
    "--config", type=click.Path(path_type=Path), metavar="FILE", help="TOML or JSON: limits, latency, faults."
)
@click.option("--watch-stdin", is_flag=True, help="End when standard input ends.")
def command(host: str, port: int, config: Path | None, watch_stdin: bool) -> int:
    """Play OpenAI, Anthropic, Gemini and Ollama on a local port, with rate limits and scripted faults."""
    try:
        from llmring.sim.server import announce, serve
    except ModuleNotFoundError as error:
        raise missing_extra("the simulator", "sim", error) from error
    from llmring.sim.config import SimConfig, SimConfigError, load_config

    try:
        settings = SimConfig() if config is None else load_config(config)
    except SimConfigError as error:
        raise Failed(ConfigError(str(error))) from error
    try:
        serve(settings, host, port, announce, watch_stdin=watch_stdin)
    except OSError as error:
        raise click.ClickException(f"cannot listen on {host}:{port}: {error.strerror or error}") from error
    return 0


def missing_extra(what: str, extra: str, error: ModuleNotFoundError) -> Failed:
    """What to install, where an optional part is not there."""
    return Failed(ConfigError(f"{what} needs {error.name}: pip install 'llmring[{extra}]'"))
