"""Vectors, models and files of OpenAI's format against recorded exchanges, when those lie beside the repository."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from llmring.codecs.codec import FileBody, HttpReply, LocalFile, StoredFile
from llmring.codecs.openai.embeddings import OpenAIEmbeddings
from llmring.codecs.openai.files import OpenAIFiles
from llmring.codecs.openai.models import OpenAIModels
from llmring.parts import ProviderFile
from llmring.usage import Usage
from tests.codecs.payloads import body_of

RECORDED = Path(__file__).parents[2].parent / "shared" / "recorded"
if not RECORDED.is_dir():
    pytest.skip(f"no recorded exchanges at {RECORDED}", allow_module_level=True)


def load(name: str) -> tuple[dict[str, Any], HttpReply]:
    data = msgspec.json.decode((RECORDED / f"{name}.json").read_bytes())
    response = data["response"]
    body = msgspec.json.encode(response["body"])
    return data["request"], HttpReply(status=response["status"], headers=response["headers"], body=body)


def test_vectors() -> None:
    request, reply = load("openai/embeddings_dimensions")
    sent = request["body"]
    call = OpenAIEmbeddings().encode((sent["input"],), sent["model"], sent["dimensions"])
    assert request["url"].endswith(call.path)
    assert body_of(call) == sent | {"input": [sent["input"]]}
    got = OpenAIEmbeddings().decode(reply)
    (vector,) = got.vectors
    assert len(vector) == 256
    assert sum(number * number for number in vector) == pytest.approx(1.0, abs=1e-3)
    assert (got.usage, got.served_model) == (Usage(input_tokens=5), "text-embedding-3-small")


def test_an_upload() -> None:
    request, reply = load("openai/files_upload")
    local = LocalFile(path=Path("x"), name="training_data.jsonl", media_type="application/octet-stream", size=1431)
    call = OpenAIFiles().upload(local)
    assert request["url"].endswith(call.path)
    assert isinstance(call.body, FileBody)
    assert f'name="{call.body.field}"; filename="{call.body.name}"' in request["text"]
    assert all(f'name="{name}"' in request["text"] for name, _ in call.body.fields)
    assert OpenAIFiles().read(reply, local) == StoredFile(file=ProviderFile(id="file-l48KgWVF75Tz2HLqLrcUdBPi"))


def test_a_list_of_models() -> None:
    request, reply = load("openrouter/models_list")
    call = OpenAIModels().encode(None)
    assert (call.method, request["url"].endswith(call.path)) == (request["method"], True)
    page = OpenAIModels().decode(reply)
    listed = msgspec.json.decode(reply.body)["data"]
    assert [model.id for model in page.models] == [model["id"] for model in listed]
    assert [model.max_input_tokens for model in page.models] == [model["context_length"] for model in listed]
    sonnet = next(model for model in page.models if model.id == "anthropic/claude-sonnet-4")
    assert (sonnet.display_name, sonnet.max_output_tokens) == ("Anthropic: Claude Sonnet 4", 64_000)
    assert sonnet.capabilities == {"vision", "documents", "reasoning", "function_calling", "tool_choice"}
