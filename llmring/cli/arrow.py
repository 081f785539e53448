"""pyarrow, which reads and writes Parquet: loaded when a file asks for it, for it is large and not everybody has it."""

from importlib import import_module
from pathlib import Path
from typing import Any

from llmring.errors import ConfigError


def load_arrow(path: Path) -> Any:
    """The module `pyarrow`, with `pyarrow.parquet` in it. Raises ConfigError that says what to install for `path`."""
    try:
        import_module("pyarrow.parquet")
        return import_module("pyarrow")
    except ModuleNotFoundError as error:
        raise ConfigError(f"{path} needs {error.name}: pip install 'llmring[parquet]'") from error
