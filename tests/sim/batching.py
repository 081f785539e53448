"""A client of the simulator's batches, in every format."""

from collections.abc import Iterable, Mapping
from typing import Any

import httpx2
import msgspec

from tests.sim.calls import Caller

OVER = ("completed", "failed", "expired", "cancelled", "ended", "SUCCEEDED", "FAILED", "CANCELLED", "EXPIRED")
_MODELS = {"anthropic": "claude-sim", "google": "gemini-sim", "google_file": "gemini-sim"}


class Batching:
    """Speaks one format to one provider; a batch is its description as it came last."""

    def __init__(self, caller: Caller, form: str, provider: str = "default") -> None:
        self.caller = caller
        self.form = form
        self.provider = provider
        self.model = _MODELS.get(form, "gpt-sim")

    def send(self, method: str, path: str, body: object = None) -> httpx2.Response:
        url = f"{self.caller.simulator.url}/{self.provider}{path}"
        return self.caller.client.request(method, url, headers=self.headers(), json=body)

    def headers(self) -> dict[str, str]:
        match self.form:
            case "anthropic":
                return {"x-api-key": self.caller.key, "anthropic-version": "2023-06-01"}
            case "google" | "google_file":
                return {"x-goog-api-key": self.caller.key}
            case _:
                return {"authorization": f"Bearer {self.caller.key}"}

    def body(self, prompt: str, **fields: object) -> dict[str, object]:
        message = {"role": "user", "content": prompt}
        match self.form:
            case "openai":
                return {"model": self.model, "messages": [message], **fields}
            case "responses":
                return {"model": self.model, "input": prompt, **fields}
            case "anthropic":
                return {"model": self.model, "max_tokens": 100, "messages": [message], **fields}
            case _:
                return {"contents": [{"role": "user", "parts": [{"text": prompt}]}], **fields}

    def create(self, rows: Mapping[str, object]) -> httpx2.Response:
        match self.form:
            case "anthropic":
                requests = [{"custom_id": key, "params": row} for key, row in rows.items()]
                return self.send("POST", "/v1/messages/batches", {"requests": requests})
            case "google":
                requests = [{"request": row, "metadata": {"key": key}} for key, row in rows.items()]
                return self._make({"requests": {"requests": requests}})
            case "google_file":
                return self._make({"fileName": self._upload(lines({"key": k, "request": r} for k, r in rows.items()))})
            case _:
                url = "/v1/responses" if self.form == "responses" else "/v1/chat/completions"
                made = ({"custom_id": k, "method": "POST", "url": url, "body": r} for k, r in rows.items())
                return self.create_of(lines(made), url)

    def create_of(self, data: bytes, endpoint: str) -> httpx2.Response:
        """OpenAI's second step, of a file of lines."""
        url, files = f"{self.caller.simulator.url}/{self.provider}/v1/files", {"file": ("rows.jsonl", data)}
        sent = self.caller.client.post(url, headers=self.headers(), files=files, data={"purpose": "batch"})
        file = sent.json()["id"]
        wanted = {"input_file_id": file, "endpoint": endpoint, "completion_window": "24h"}
        return self.send("POST", "/v1/batches", wanted)

    def _make(self, source: object) -> httpx2.Response:
        path = f"/v1beta/models/{self.model}:batchGenerateContent"
        return self.send("POST", path, {"batch": {"displayName": "tag", "inputConfig": source}})

    def _upload(self, data: bytes) -> str:
        start = {"x-goog-upload-protocol": "resumable", "x-goog-upload-command": "start", **self.headers()}
        url = f"{self.caller.simulator.url}/{self.provider}/upload/v1beta/files"
        address = self.caller.client.post(url, headers=start).headers["x-goog-upload-url"]
        finish = {"x-goog-upload-command": "upload, finalize", "x-goog-upload-offset": "0"}
        return str(self.caller.client.post(address, content=data, headers=finish).json()["file"]["name"])

    def path(self, batch: Mapping[str, Any]) -> str:
        match self.form:
            case "anthropic":
                return f"/v1/messages/batches/{batch['id']}"
            case "google" | "google_file":
                return f"/v1beta/{batch['name']}"
            case _:
                return f"/v1/batches/{batch['id']}"

    def get(self, batch: Mapping[str, Any]) -> dict[str, Any]:
        found: dict[str, Any] = self.send("GET", self.path(batch)).json()
        return found

    def cancel(self, batch: Mapping[str, Any]) -> httpx2.Response:
        joint = ":" if self.form.startswith("google") else "/"
        return self.send("POST", f"{self.path(batch)}{joint}cancel")

    def status(self, batch: Mapping[str, Any]) -> str:
        if self.form.startswith("google"):
            return str(batch["metadata"]["state"]).removeprefix("BATCH_STATE_")
        return str(batch["processing_status" if self.form == "anthropic" else "status"])

    def wait(self, batch: Mapping[str, Any]) -> dict[str, Any]:
        """The batch when it is over; asking is what takes the time."""
        for _ in range(5000):
            found = self.get(batch)
            if self.status(found) in OVER:
                return found
        raise AssertionError(f"never over: {batch}")

    def results(self, batch: Mapping[str, Any]) -> list[tuple[str, str]]:
        """Keys and what became of them, in the order of the results."""
        match self.form:
            case "anthropic":
                told = self.send("GET", f"{self.path(batch)}/results").content.splitlines()
                found = [msgspec.json.decode(line) for line in told]
                return [(one["custom_id"], one["result"]["type"]) for one in found]
            case "google":
                rows = batch["response"]["inlinedResponses"]["inlinedResponses"]
                return [(one["metadata"]["key"], _google_fate(one)) for one in rows]
            case "google_file":
                path = f"/download/v1beta/{batch['response']['responsesFile']}:download?alt=media"
                told = self.send("GET", path).content.splitlines()
                return [(one["key"], _google_fate(one)) for one in map(msgspec.json.decode, told)]
            case _:
                files = [batch[name] for name in ("output_file_id", "error_file_id") if batch[name]]
                data = b"".join(self.send("GET", f"/v1/files/{name}/content").content for name in files)
                found = [msgspec.json.decode(line) for line in data.splitlines()]
                return [(one["custom_id"], _openai_fate(one)) for one in found]


def lines(rows: Iterable[object]) -> bytes:
    return b"\n".join(map(msgspec.json.encode, rows))


def _google_fate(row: Mapping[str, Any]) -> str:
    if "response" in row:
        return "succeeded"
    return {4: "expired", 1: "canceled"}.get(row["error"]["code"], "errored")


def _openai_fate(row: Mapping[str, Any]) -> str:
    if row["error"] is not None:
        return {"batch_expired": "expired", "batch_cancelled": "canceled"}[row["error"]["code"]]
    return "succeeded" if row["response"]["status_code"] == 200 else "errored"
