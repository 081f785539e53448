"""What providers serve besides answers: lists of models, files, embeddings, counts, stored replies."""

import math
import struct
from base64 import b64decode
from collections.abc import Mapping

import httpx2
import pytest

from llmring.sim.embeddings import vector
from tests.sim.calls import Caller

_ANTHROPIC = {"anthropic-version": "2023-06-01", "anthropic-beta": "files-api-2025-04-14"}


def _headers(caller: Caller, form: str) -> dict[str, str]:
    match form:
        case "anthropic":
            return {"x-api-key": caller.key, **_ANTHROPIC}
        case "google":
            return {"x-goog-api-key": caller.key}
        case _:
            return {"authorization": f"Bearer {caller.key}"}


def _get(caller: Caller, form: str, path: str, provider: str = "default") -> httpx2.Response:
    return caller.client.get(f"{caller.simulator.url}/{provider}/{path}", headers=_headers(caller, form))


def _post(caller: Caller, form: str, path: str, body: Mapping[str, object]) -> httpx2.Response:
    url = f"{caller.simulator.url}/default/{path}"
    return caller.client.post(url, json=body, headers=_headers(caller, form))


def test_a_list_of_models_is_the_one_of_who_is_asked_by_the_headers(caller: Caller) -> None:
    models = ["one", "two", "three"]
    openai = _get(caller, "openai", "v1/models", "listed").json()
    anthropic = _get(caller, "anthropic", "v1/models", "listed").json()
    google = [_get(caller, "google", f"{version}/models", "listed").json() for version in ("v1", "v1beta")]
    ollama = _get(caller, "ollama", "api/tags", "listed").json()
    assert openai["object"] == "list" and [one["id"] for one in openai["data"]] == models
    assert anthropic["has_more"] is False and [one["id"] for one in anthropic["data"]] == models
    assert [[one["name"] for one in each["models"]] for each in google] == [[f"models/{one}" for one in models]] * 2
    assert [one["model"] for one in ollama["models"]] == models


def test_lists_of_models_come_in_pages(caller: Caller) -> None:
    first = _get(caller, "anthropic", "v1/models?limit=2", "listed").json()
    assert (first["has_more"], first["last_id"]) == (True, "two")
    rest = _get(caller, "anthropic", "v1/models?limit=2&after_id=two", "listed").json()
    assert (rest["has_more"], [one["id"] for one in rest["data"]]) == (False, ["three"])
    page = _get(caller, "google", "v1beta/models?pageSize=2", "listed").json()
    rest = _get(caller, "google", f"v1beta/models?pageSize=2&pageToken={page['nextPageToken']}", "listed").json()
    assert "nextPageToken" not in rest and [one["name"] for one in rest["models"]] == ["models/three"]


def test_only_listed_models_answer_where_models_are_listed(caller: Caller) -> None:
    assert caller.openai("listed", model="one").status_code == 200
    assert caller.openai("listed", model="one+status_500").status_code == 500
    assert caller.openai("listed", model="four").status_code == 404
    assert _get(caller, "openai", "v1/models/four", "listed").json()["error"]["code"] == "model_not_found"
    assert _get(caller, "google", "v1beta/models/one", "listed").json()["name"] == "models/one"


def test_a_list_needs_a_key_and_is_counted_in_brackets(caller: Caller) -> None:
    assert _get(caller, "openai", "v1/models", "strict").status_code == 401
    assert caller.cell("strict", "(models)").statuses == {"401": 1}


@pytest.mark.parametrize("dimensions", [2, 3, 256])
def test_a_vector_has_length_one_and_is_the_same_for_the_same_text(dimensions: int) -> None:
    one = vector("some text", dimensions)
    assert math.isclose(sum(value * value for value in one), 1.0)
    assert one == vector("some text", dimensions) and one != vector("another", dimensions)


def test_openai_embeds_texts_and_tokens_as_numbers_or_in_base64(caller: Caller) -> None:
    body = {"model": "e", "input": ["abcde", "x"], "dimensions": 4}
    numbers = _post(caller, "openai", "v1/embeddings", body).json()
    packed = _post(caller, "openai", "v1/embeddings", {**body, "encoding_format": "base64"}).json()
    assert numbers["usage"] == {"prompt_tokens": 3, "total_tokens": 3}
    assert [one["index"] for one in numbers["data"]] == [0, 1]
    unpacked = struct.unpack("<4f", b64decode(packed["data"][0]["embedding"]))
    assert unpacked == pytest.approx(numbers["data"][0]["embedding"])
    for given in ([1, 2, 3], [[1, 2], [3]]):
        assert _post(caller, "openai", "v1/embeddings", {**body, "input": given}).status_code == 200
    for wrong in ([], [""], None, {"a": 1}):
        assert _post(caller, "openai", "v1/embeddings", {**body, "input": wrong}).status_code == 400


def test_gemini_embeds_one_text_or_many(caller: Caller) -> None:
    one = {"model": "models/e", "content": {"parts": [{"text": "abcde"}]}, "outputDimensionality": 4}
    single = _post(caller, "google", "v1beta/models/e:embedContent", one).json()
    many = _post(caller, "google", "v1/models/e:batchEmbedContents", {"requests": [one, one]}).json()
    assert many["embeddings"] == [single["embedding"]] * 2 and len(single["embedding"]["values"]) == 4
    assert many["usageMetadata"]["promptTokenCount"] == 4


def test_ollama_embeds_the_newer_and_the_older_way(caller: Caller) -> None:
    new = _post(caller, "ollama", "api/embed", {"model": "e", "input": "abc"}).json()
    old = _post(caller, "ollama", "api/embeddings", {"model": "e", "prompt": "abc"}).json()
    assert new["embeddings"] == [old["embedding"]] and new["prompt_eval_count"] == 1


def test_embeddings_are_limited_and_fail_as_answers_do(caller: Caller) -> None:
    assert _post(caller, "openai", "v1/embeddings", {"model": "m+status_500", "input": "x"}).status_code == 500
    cell = caller.cell("default", "m+status_500")
    assert (cell.received, cell.input_tokens, cell.output_tokens) == (1, 1, 0)


def _upload(caller: Caller, form: str, **fields: str) -> dict[str, object]:
    files = {"file": ("a.pdf", b"%PDF", "application/pdf")}
    url = f"{caller.simulator.url}/default/v1/files"
    reply = caller.client.post(url, files=files, data=fields, headers=_headers(caller, form))
    assert reply.status_code == 200, reply.text
    told: dict[str, object] = reply.json()
    return told


def test_openai_keeps_files_that_a_prompt_may_speak_of(caller: Caller) -> None:
    file = _upload(caller, "openai", purpose="user_data")
    assert (file["bytes"], file["filename"], file["purpose"]) == (4, "a.pdf", "user_data")
    assert _get(caller, "openai", f"v1/files/{file['id']}").json() == file
    assert _get(caller, "openai", f"v1/files/{file['id']}/content").content == b"%PDF"
    for file_id, status in ((file["id"], 200), ("file-none", 404)):
        chat = [{"role": "user", "content": [{"type": "file", "file": {"file_id": file_id}}]}]
        assert caller.openai(messages=chat).status_code == status
        part = {"role": "user", "content": [{"type": "input_file", "file_id": file_id}]}
        assert caller.responses(input=[part]).status_code == status
    url = f"{caller.simulator.url}/default/v1/files/{file['id']}"
    assert caller.client.delete(url, headers=_headers(caller, "openai")).json()["deleted"] is True
    assert _get(caller, "openai", f"v1/files/{file['id']}").status_code == 404


def test_anthropic_keeps_files_behind_its_beta(caller: Caller) -> None:
    file = _upload(caller, "anthropic")
    assert (file["type"], file["size_bytes"], file["mime_type"]) == ("file", 4, "application/pdf")
    assert _get(caller, "anthropic", "v1/files").json()["data"] == [file]
    block = {"type": "document", "source": {"type": "file", "file_id": file["id"]}}
    message = {"role": "user", "content": [block, {"type": "text", "text": "what is it"}]}
    body = {"model": "claude-sim", "max_tokens": 10, "messages": [message]}
    assert _post(caller, "anthropic", "v1/messages", body).status_code == 200
    without = caller.anthropic(messages=[message])
    assert without.status_code == 400 and "Input tag 'file'" in without.text
    block["source"] = {"type": "file", "file_id": "file_none"}
    assert _post(caller, "anthropic", "v1/messages", body).json()["error"]["type"] == "not_found_error"


def test_gemini_takes_files_in_pieces(caller: Caller) -> None:
    headers = _headers(caller, "google")
    start = {**headers, "x-goog-upload-protocol": "resumable", "x-goog-upload-command": "start",
             "x-goog-upload-header-content-type": "text/plain"}  # fmt: skip
    url = f"{caller.simulator.google_url()}/upload/v1beta/files"
    begun = caller.client.post(url, json={"file": {"displayName": "a.txt"}}, headers=start)
    to = begun.headers["x-goog-upload-url"]
    first = {"x-goog-upload-command": "upload", "x-goog-upload-offset": "0"}
    assert caller.client.post(to, content=b"abc", headers=first).headers["x-goog-upload-status"] == "active"
    last = {"x-goog-upload-command": "upload, finalize", "x-goog-upload-offset": "3"}
    done = caller.client.post(to, content=b"de", headers=last)
    file = done.json()["file"]
    assert done.headers["x-goog-upload-status"] == "final"
    assert (file["sizeBytes"], file["displayName"], file["state"]) == ("5", "a.txt", "ACTIVE")
    assert _get(caller, "google", f"v1beta/{file['name']}").json() == file
    for uri, status in ((file["uri"], 200), (file["uri"] + "x", 403), ("gs://elsewhere/x", 200)):
        part = {"fileData": {"fileUri": uri, "mimeType": "text/plain"}}
        assert caller.google(contents=[{"role": "user", "parts": [part]}]).status_code == status


def test_files_belong_to_the_key_that_made_them(caller: Caller) -> None:
    file = _upload(caller, "openai", purpose="user_data")
    caller.key += "-another"
    assert _get(caller, "openai", f"v1/files/{file['id']}").status_code == 404


@pytest.mark.parametrize(("fields", "said"), [({}, "purpose"), ({"purpose": "fun"}, "fun")])
def test_an_upload_needs_a_known_purpose(caller: Caller, fields: dict[str, str], said: str) -> None:
    url, files = f"{caller.simulator.url}/default/v1/files", {"file": ("a.txt", b"x")}
    refused = caller.client.post(url, files=files, data=fields, headers=_headers(caller, "openai"))
    assert refused.status_code == 400 and said in refused.json()["error"]["message"]


def test_the_tokens_of_a_prompt_are_counted_without_an_answer(caller: Caller) -> None:
    messages = [{"role": "user", "content": "12345678"}]
    counted = _post(caller, "anthropic", "v1/messages/count_tokens", {"model": "c", "messages": messages}).json()
    assert counted == {"input_tokens": 2}
    counted = _post(caller, "openai", "v1/responses/input_tokens", {"model": "m", "input": "12345678"}).json()
    assert counted == {"object": "response.input_tokens", "input_tokens": 2}
    contents = {"contents": [{"parts": [{"text": "12345678"}]}]}
    for body in (contents, {"generateContentRequest": {"model": "models/g", **contents}}):
        assert _post(caller, "google", "v1beta/models/g:countTokens", body).json()["totalTokens"] == 2


def test_a_stored_response_can_be_had_again_continued_and_deleted(caller: Caller) -> None:
    first = caller.responses().json()
    path = f"v1/responses/{first['id']}"
    assert _get(caller, "openai", path).json()["output"] == first["output"]
    more = caller.responses(previous_response_id=first["id"]).json()
    assert more["usage"]["input_tokens"] == first["usage"]["total_tokens"] + first["usage"]["input_tokens"]
    url = f"{caller.simulator.url}/default/{path}"
    assert caller.client.delete(url, headers=_headers(caller, "openai")).json()["deleted"] is True
    assert _get(caller, "openai", path).status_code == 404
    refused = caller.responses(previous_response_id=first["id"])
    assert refused.json()["error"]["code"] == "previous_response_not_found"


def test_a_response_that_is_not_stored_is_not_there_again(caller: Caller) -> None:
    reply = caller.responses(store=False, reasoning={"effort": "low"}).json()
    assert _get(caller, "openai", f"v1/responses/{reply['id']}").status_code == 404
    # Without its encrypted content, and not stored, the thought cannot be found.
    assert caller.responses(input=reply["output"]).status_code == 404


def test_ollama_shows_what_a_model_can_do(caller: Caller) -> None:
    shown = _post(caller, "ollama", "api/show", {"model": "embed-sim"}).json()
    assert shown["capabilities"] == ["embedding"]
    assert _post(caller, "ollama", "api/show", {"model": "missing"}).status_code == 404
    assert _get(caller, "ollama", "api/version").json()["version"]
