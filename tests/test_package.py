"""The package as installed: what importing it costs, and that its public names exist."""

import subprocess
import sys
from importlib.metadata import version

import pytest

import llmring

# A cold `import llmring` should cost a few milliseconds. Counting modules shows what a stopwatch only suspects.
HEAVY = [
    "anyio",
    "asyncio",
    "click",
    "httpx2",
    "msgspec",
    "nacl",
    "opentelemetry",
    "pyarrow",
    "rfc8785",
    "rich",
    "sqlite3",
    "tomlkit",
    "trio",
    "uvicorn",
]


def modules_loaded_by(statement: str) -> set[str]:
    script = f"import sys\n{statement}\nprint(*sys.modules)"
    done = subprocess.run([sys.executable, "-I", "-c", script], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_importing_the_package_loads_no_library() -> None:
    loaded = modules_loaded_by("import llmring")
    assert "llmring" in loaded
    assert loaded.isdisjoint(HEAVY)


def test_importing_the_package_loads_no_module_of_its_own() -> None:
    assert not [name for name in modules_loaded_by("import llmring") if name.startswith("llmring.")]


def test_the_version_is_the_installed_one() -> None:
    assert llmring.__version__ == version("llmring")


@pytest.mark.parametrize("name", llmring.__all__)
def test_a_public_name_resolves(name: str) -> None:
    assert getattr(llmring, name) is not None


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = llmring.no_such_name


def test_dir_lists_the_public_names() -> None:
    assert set(llmring.__all__) <= set(dir(llmring))
