"""Gemini's embeddings, model list and uploads against recorded exchanges, when those lie beside the repository."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from llmring.codecs.codec import HttpCall, HttpReply, LocalFile, NextCall
from llmring.codecs.google.embeddings import GoogleEmbeddings
from llmring.codecs.google.files import GoogleFiles
from llmring.codecs.google.models import GoogleModels
from tests.codecs.payloads import body_of

RECORDED = Path(__file__).parents[2].parent / "shared" / "recorded" / "google"
if not RECORDED.is_dir():
    pytest.skip(f"no recorded exchanges at {RECORDED}", allow_module_level=True)

HOST = "https://generativelanguage.googleapis.com"


def load(name: str) -> tuple[dict[str, Any], HttpReply]:
    """The request as it was sent, and the reply."""
    data = msgspec.json.decode((RECORDED / f"{name}.json").read_bytes())
    response = data["response"]
    body = msgspec.json.encode(response["body"]) if "body" in response else b""
    return data["request"], HttpReply(status=response["status"], headers=response["headers"], body=body)


def check_call(call: HttpCall, sent: dict[str, Any]) -> None:
    assert call.method == sent["method"]
    assert HOST + call.path.partition("?")[0] == sent["url"].partition("?")[0]
    if call.method == "POST":
        assert body_of(call) == sent["body"]


def test_embeddings() -> None:
    sent, reply = load("embed_batch")
    (request,) = sent["body"]["requests"]
    (part,) = request["content"]["parts"]
    codec = GoogleEmbeddings()
    check_call(codec.encode([part["text"]], request["model"], request["outputDimensionality"]), sent)
    got = codec.decode(reply)
    assert [len(vector) for vector in got.vectors] == [768]
    assert got.usage is not None
    assert got.usage.total_tokens == 8


def test_models() -> None:
    sent, reply = load("models_list")
    codec = GoogleModels()
    check_call(codec.encode(None), sent)
    page = codec.decode(reply)
    assert page.next is not None
    listed = {model["name"].removeprefix("models/"): model for model in msgspec.json.decode(reply.body)["models"]}
    assert [model.id for model in page.models] == list(listed)
    for model in page.models:
        assert model.max_input_tokens == listed[model.id]["inputTokenLimit"]
        assert ("thinking" in model.capabilities) == listed[model.id].get("thinking", False)


def test_the_start_of_an_upload() -> None:
    sent, reply = load("file_upload_start")
    file = LocalFile(path=Path("/a/sample.pdf"), name="sample.pdf", media_type="application/pdf", size=9)
    call = GoogleFiles().upload(file)
    # Both spellings of `displayName` are taken.
    sent["body"] = {"file": {"displayName": sent["body"]["file"]["display_name"]}}
    check_call(call, sent)
    # The recorder took the address out.
    url = f"{HOST}/upload/v1beta/files?upload_id=1"
    headers = dict(reply.headers) | {"x-goog-upload-url": url}
    following = GoogleFiles().read(HttpReply(status=200, headers=headers, body=reply.body), file)
    assert isinstance(following, NextCall)
    assert following.call.path == url
