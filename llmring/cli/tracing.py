"""Where a command's spans and metrics go: to the file of `--trace`, and over OTLP where the environment says so.

OpenTelemetry's SDK is an extra and takes a while to import, so it is looked for only when there is something to send.
"""

from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from llmring.cli.running import note
from llmring.config import OTLP_PROTOCOL, read_exports
from llmring.errors import ConfigError
from llmring.telemetry.telemetry import Telemetry

trace_option: Callable[[Callable[..., Any]], Callable[..., Any]] = click.option(
    "--trace",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Append every finished span to FILE, as JSON lines: pip install 'llmring[otel]'.",
)


@contextmanager
def telemetry(trace: Path | None) -> Generator[Telemetry | None]:
    """For the router of a command, None where nothing is to be sent. At its end everything is.

    Raises ConfigError where `trace` cannot be written.
    """
    exports = read_exports()
    if exports.other_protocol is not None:
        note(f"no telemetry is sent: OTLP is spoken as {OTLP_PROTOCOL} here, not as {exports.other_protocol}")
    if trace is None and not exports.spans and not exports.metrics:
        yield None
        return
    if exports.is_off:
        raise ConfigError("--trace writes nothing while OTEL_SDK_DISABLED is true: unset it")
    try:
        from llmring.cli.exporting import exporting
    except ModuleNotFoundError as error:
        if error.name is None or not error.name.startswith("opentelemetry"):
            raise
        if trace is not None:
            raise ConfigError("--trace needs OpenTelemetry's SDK: pip install 'llmring[otel]'") from None
        # The environment is everybody's, and asks nothing of us.
        yield None
        return
    with exporting(trace, exports) as found:
        yield found
