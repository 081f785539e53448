"""`llmring registry verify`: exit code 1 with faults, and none for what is understood."""

import json
from pathlib import Path
from typing import Any

from tests.cli.terminal import Terminal
from tests.registry.lists import REGISTRY, document, entry, needs_registry


def write(directory: Path, **fields: Any) -> None:
    path = directory / "lists" / "openai" / "models.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(document(entry(**fields), content_sha256_jcs="x")))


def test_a_right_directory_ends_with_0_and_counts_anomalies(bare: Terminal) -> None:
    write(bare.directory, max_input_tokens=0)
    ended = bare.run("registry", "verify", "lists")
    assert (ended.code, ended.out) == (0, "no faults; 1 anomalies: 1 unknown_limit\n")
    verbose = bare.run("registry", "verify", "lists", "-v").out.splitlines()
    assert verbose[0] == ("openai/models.json: gpt-5: max_input_tokens: is 0, read as unknown [unknown_limit]")


def test_a_fault_names_file_model_and_field_and_ends_with_1(bare: Terminal) -> None:
    write(bare.directory, dollars_per_million_tokens_input=-1)
    ended = bare.run("registry", "verify", "lists")
    assert ended.code == 1
    assert ended.out.splitlines() == [
        "openai/models.json: gpt-5: dollars_per_million_tokens_input: -1 is no price [wrong_value]",
        "1 fault; 0 anomalies",
    ]
    spelled = bare.run("registry", "verify", "lists", "--json")
    assert spelled.code == 1
    assert spelled.json() == {
        "faults": 1,
        "findings": [
            {
                "path": "openai/models.json",
                "model": "gpt-5",
                "field": "dollars_per_million_tokens_input",
                "kind": "wrong_value",
                "what": "-1 is no price",
                "is_anomaly": False,
            }
        ],
    }


def test_a_directory_without_lists_ends_with_1(bare: Terminal) -> None:
    ended = bare.run("registry", "verify", "gone", "--json")
    assert ended.code == 1
    assert "registry gone: no such file or directory" in ended.err
    assert ended.json()["error"]["type"] == "RegistryError"


@needs_registry
def test_of_the_real_registry_two_lists_are_faulted(bare: Terminal) -> None:
    ended = bare.run("registry", "verify", str(REGISTRY))
    assert ended.code == 1
    assert ended.out.count("[broken_chain]") == 2
    assert ended.out.splitlines()[-1].startswith("2 faults; ")
