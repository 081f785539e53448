"""`--schema FILE` and `--effort WORD`: how an answer is to be, on the command line."""

from pathlib import Path
from typing import Any, get_args

import click
import msgspec

from llmring.chat import Effort, JSONSchema
from llmring.errors import InvalidRequest

schema_option = click.option(
    "--schema",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="A JSON schema that the answer has to fit.",
)
effort_option = click.option(
    "--effort", type=click.Choice(get_args(Effort)), help="How much the model reasons, where it can."
)


def read_schema(path: Path | None) -> JSONSchema | None:
    """The schema in a file. Raises InvalidRequest."""
    if path is None:
        return None
    try:
        schema: dict[str, Any] = msgspec.json.decode(path.read_bytes(), type=dict[str, Any])
    except OSError as error:
        raise InvalidRequest(f"schema {path}: {str(error.strerror).lower()}") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidRequest(f"schema {path} is not a JSON object: {error}") from None
    return JSONSchema(schema=schema, name=_name(path.stem))


def _name(stem: str) -> str:
    """A file's name as the name of a schema: letters, digits, _ and -, at most 64."""
    return "".join(c if c.isascii() and (c.isalnum() or c in "_-") else "_" for c in stem)[:64] or "response"
