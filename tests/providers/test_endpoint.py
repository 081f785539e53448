"""Providers as they are known, under the environment, under the lockfile."""

from typing import Any

import pytest

from llmring.chat import ChatRequest
from llmring.codecs.capabilities import Capabilities, Model
from llmring.errors import ConfigError, UnknownProvider
from llmring.lockfile.providers import KINDS, Kind, LimitGroup, ProviderSettings
from llmring.prompts import to_messages
from llmring.providers.endpoint import endpoint
from llmring.providers.known import PROVIDERS
from llmring.providers.wires import wire

HI = ChatRequest(model="a", messages=to_messages("hi"))


def path_of(kind: Kind, name: str = "m", **settings: Any) -> str:
    about = endpoint("p", ProviderSettings(name="p", kind=kind, base_url="http://127.0.0.1", **settings))
    return about.wire.chat.encode(HI, Model(name=name), stream=False).path


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_can_be_spoken_to(kind: Kind) -> None:
    assert path_of(kind).startswith("/")
    assert wire(kind).chat.auth("key")


@pytest.mark.parametrize("name", sorted(PROVIDERS))
def test_every_provider_known_by_name_has_an_address_or_asks_for_one(name: str) -> None:
    if name == "azure":
        with pytest.raises(ConfigError, match=r"needs base_url: everybody has one of their own"):
            endpoint(name, None)
        return
    about = endpoint(name, None)
    assert about.base_url.startswith(("https://", "http://localhost:"))
    assert about.key_variables or not about.needs_key


def test_the_lockfile_comes_before_the_environment_and_that_before_what_is_known() -> None:
    given = ProviderSettings(name="ollama", base_url="http://10.0.0.1:1")
    assert endpoint("ollama", None).base_url == "http://localhost:11434"
    assert endpoint("ollama", None, "http://10.0.0.2:2").base_url == "http://10.0.0.2:2"
    assert endpoint("ollama", given, "http://10.0.0.2:2").base_url == "http://10.0.0.1:1"


def test_an_unknown_provider_is_named_with_what_to_do() -> None:
    with pytest.raises(UnknownProvider, match=r"write a \[providers.<name>\] table"):
        endpoint("nobody", None)
    with pytest.raises(ConfigError, match="needs kind: 'nobody' is not a provider we know"):
        endpoint("nobody", ProviderSettings(name="nobody", base_url="http://127.0.0.1"))


def test_azures_older_addresses_have_the_deployment_and_the_version_in_them() -> None:
    assert path_of("azure", "my gpt") == "/chat/completions"
    older = path_of("azure", "my gpt", api_version="2024-10-21")
    assert older == "/openai/deployments/my%20gpt/chat/completions?api-version=2024-10-21"
    with pytest.raises(ConfigError, match="api_version is for kind 'azure' alone"):
        path_of("openai", api_version="2024-10-21")


def test_openais_models_that_reason_are_asked_by_responses() -> None:
    openai = wire("openai")
    assert openai.codec(Capabilities(responses=True)).format == "openai-responses"
    assert openai.codec(Capabilities()).format == "openai-chat"
    assert wire("azure").codec(Capabilities(responses=True)).format == "openai-chat"


def test_a_server_may_do_less_than_its_models_could() -> None:
    assert wire("deepseek").bounded(Capabilities()).schema == "json"
    assert wire("openai").bounded(Capabilities(schema="tool")).schema == "tool"
    assert wire("anthropic").bounded(Capabilities()).json_mode is False
    assert wire("openai").bounded(Capabilities()).object_roots is True


def test_a_list_of_variables_holds_several_keys_and_the_names_of_a_known_provider_hold_one() -> None:
    several = endpoint("google", ProviderSettings(name="google", api_key_env=("A", "B")))
    assert (several.key_variables, several.many_keys, several.needs_key) == (("A", "B"), True, True)
    known = endpoint("google", None)
    assert len(known.key_variables) > 1
    assert not known.many_keys
    one = endpoint("google", ProviderSettings(name="google", api_key_env="A"))
    assert (one.key_variables, one.many_keys) == (("A",), False)


def test_a_group_of_models_has_its_own_limits_counted_as_the_providers_are() -> None:
    group = LimitGroup(name="large", models=("m-*",), requests_per_minute=5.0, requests_per_day=100.0)
    given = ProviderSettings(name="openai", limits_counted="by window", limit_groups={"large": group})
    about = endpoint("openai", given)
    assert about.group("m-1") is group
    assert about.group("n-1") is None
    assert [(limit.dimension, limit.amount, limit.counted) for limit in about.limits_of(group)] == [
        ("requests", 5.0, "by window"),
        ("day", 100.0, "by window"),
    ]
