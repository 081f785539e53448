"""A client of the simulator: sends requests with one key, and reads what was counted for it."""

import socket

import httpx2
import msgspec

from llmring.sim.process import Simulator
from llmring.sim.stats import Cell, key_label


class Caller:
    """Sends requests to one simulator with one key."""

    def __init__(self, simulator: Simulator, client: httpx2.Client, key: str) -> None:
        self.simulator = simulator
        self.client = client
        self.key = key

    def openai(self, provider: str = "default", **fields: object) -> httpx2.Response:
        body = {"model": "gpt-sim", "messages": [{"role": "user", "content": "hello there"}], **fields}
        headers = {"authorization": f"Bearer {self.key}"} if self.key else {}
        url = f"{self.simulator.openai_url(provider)}/chat/completions"
        return self.client.post(url, json=body, headers=headers)

    def anthropic(self, provider: str = "default", **fields: object) -> httpx2.Response:
        messages = [{"role": "user", "content": "hello there"}]
        body = {"model": "claude-sim", "max_tokens": 100, "messages": messages, **fields}
        headers = {"x-api-key": self.key, "anthropic-version": "2023-06-01"}
        url = f"{self.simulator.anthropic_url(provider)}/v1/messages"
        return self.client.post(url, json=body, headers=headers)

    def responses(self, provider: str = "default", **fields: object) -> httpx2.Response:
        body = {"model": "gpt-sim", "input": "hello there", **fields}
        headers = {"authorization": f"Bearer {self.key}"}
        return self.client.post(f"{self.simulator.openai_url(provider)}/responses", json=body, headers=headers)

    def google(self, provider: str = "default", **fields: object) -> httpx2.Response:
        """`model` and `stream` go into the URL."""
        body = {"contents": [{"role": "user", "parts": [{"text": "hello there"}]}], **fields}
        model, stream = body.pop("model", "gemini-sim"), body.pop("stream", False)
        method = "streamGenerateContent?alt=sse" if stream else "generateContent"
        url = f"{self.simulator.google_url(provider)}/v1beta/models/{model}:{method}"
        return self.client.post(url, json=body, headers={"x-goog-api-key": self.key})

    def ollama(self, provider: str = "default", **fields: object) -> httpx2.Response:
        """Whole unless told to stream, as the other ones."""
        messages = [{"role": "user", "content": "hello there"}]
        body = {"model": "llama-sim", "messages": messages, "stream": False, **fields}
        headers = {"authorization": f"Bearer {self.key}"}
        return self.client.post(f"{self.simulator.ollama_url(provider)}/api/chat", json=body, headers=headers)

    def cell(self, provider: str, model: str) -> Cell:
        """The counters of our key; new ones when nothing was counted."""
        report = self.client.get(f"{self.simulator.url}/__stats").json()
        keys = report["providers"].get(provider, {"keys": {}})["keys"]
        models = keys.get(key_label(self.key), {"models": {}})["models"]
        return msgspec.convert(models.get(model, {}), Cell)

    def wait_for(self, provider: str, model: str, field: str, value: object) -> None:
        """Until a counter has this value; asking is what takes the time."""
        for _ in range(5000):
            if getattr(self.cell(provider, model), field) == value:
                return
        raise AssertionError(f"{field} never became {value}: {self.cell(provider, model)}")

    def raw(self, body: dict[str, object], provider: str = "default") -> socket.socket:
        """A connection on which an OpenAI request was sent and nothing was read."""
        host, port = self.simulator.url.removeprefix("http://").split(":")
        data = msgspec.json.encode(body)
        head = (
            f"POST /{provider}/v1/chat/completions HTTP/1.1\r\nhost: {host}\r\nauthorization: Bearer {self.key}\r\n"
            f"content-type: application/json\r\ncontent-length: {len(data)}\r\n\r\n"
        )
        connection = socket.create_connection((host, int(port)), timeout=20)
        connection.sendall(head.encode() + data)
        return connection


def asking(model: str, **fields: object) -> dict[str, object]:
    """The body of a small OpenAI request."""
    return {"model": model, "messages": [{"role": "user", "content": "hello there"}], **fields}
