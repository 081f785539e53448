"""Configuration files, and what is said about wrong ones."""

from pathlib import Path

import msgspec
import pytest

from llmring.sim.config import ProviderConfig, SimConfig, SimConfigError, load_config, parse_config
from llmring.sim.faults import Fault
from llmring.sim.latency import Lognormal

_TOML = """
[providers.openai]
requests_per_minute = 500
tokens_per_minute = 200_000
latency = { kind = "lognormal", median = 0.3, sigma = 0.4 }
seconds_per_token = 0.01

[[providers.openai.faults]]
kind = "status_503"
from_seconds = 20
until_seconds = 40

[providers.anthropic]
input_tokens_per_minute = 50_000
output_tokens_per_minute = 8_000
keys = ["a", "b"]
"""


def test_a_toml_file_describes_providers(tmp_path: Path) -> None:
    file = tmp_path / "sim.toml"
    file.write_text(_TOML)
    outage = Fault(kind="status_503", from_seconds=20, until_seconds=40)
    assert load_config(file).providers == {
        "openai": ProviderConfig(
            requests_per_minute=500,
            tokens_per_minute=200_000,
            latency=Lognormal(median=0.3, sigma=0.4),
            seconds_per_token=0.01,
            faults=(outage,),
        ),
        "anthropic": ProviderConfig(input_tokens_per_minute=50_000, output_tokens_per_minute=8_000, keys=("a", "b")),
    }


def test_what_is_written_as_json_is_read_back(tmp_path: Path) -> None:
    file = tmp_path / "sim.json"
    config = SimConfig(providers={"x": ProviderConfig(faults=(Fault(kind="drip", seconds=0.5),))})
    file.write_bytes(msgspec.json.encode(config))
    assert load_config(file) == config


@pytest.mark.parametrize(
    ("tree", "said"),
    [
        ({"providers": {"openai": {"requests_per_minute": 0}}}, "providers.openai.requests_per_minute: "),
        ({"providers": {"openai": {"rpm": 5}}}, "providers.openai: Object contains unknown field `rpm`"),
        ({"providers": {"x": {"faults": [{"kind": "boom"}]}}}, "providers.x.faults[0].kind: "),
        ({"providers": {"x": {"latency": {"kind": "fixed", "seconds": -1}}}}, "providers.x.latency.seconds: "),
        ({"providers": {"a/b": {}}}, "providers.a/b: "),
        ({"provider": {}}, "unknown field `provider`"),
        ([], "expected a table"),
    ],
)
def test_a_wrong_field_is_named(tree: object, said: str) -> None:
    with pytest.raises(SimConfigError) as raised:
        parse_config(tree)
    assert said in str(raised.value)


@pytest.mark.parametrize("name", ["absent.toml", "broken.toml", "broken.json"])
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, name: str) -> None:
    if not name.startswith("absent"):
        (tmp_path / name).write_text("{ providers")
    with pytest.raises(SimConfigError, match=name):
        load_config(tmp_path / name)
