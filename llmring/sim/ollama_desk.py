"""What Ollama serves besides answers: the models that are there, what one of them is, and its version."""

import hashlib

import msgspec

from llmring.sim.desk import Reply, Request, told
from llmring.sim.wire import Problem, Rejected

_SAMPLES = ("llama-sim:latest", "embed-sim:latest")
_MODIFIED = "2026-01-01T00:00:00Z"
_DETAILS = {
    "parent_model": "",
    "format": "gguf",
    "family": "llama",
    "families": ["llama"],
    "parameter_size": "8.0B",
    "quantization_level": "Q4_K_M",
}


def version(_request: Request) -> Reply:
    return told({"version": "0.20.0"})


def tags(request: Request) -> Reply:
    names = request.provider.config.models or _SAMPLES
    return told({"models": [{**_model(name), "modified_at": _MODIFIED} for name in names]})


def running(_request: Request) -> Reply:
    """Nothing is loaded: a simulated model needs no memory."""
    return told({"models": []})


def _model(name: str) -> dict[str, object]:
    digest = hashlib.sha256(name.encode()).hexdigest()
    return {"name": name, "model": name, "size": 4_661_224_676, "digest": digest, "details": _DETAILS}


class _Asked(msgspec.Struct):
    model: str = ""
    #: What older clients call it.
    name: str = ""


def show(request: Request) -> Reply:
    try:
        asked = msgspec.json.decode(request.body, type=_Asked)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Rejected(Problem(kind="bad_json", detail=str(error))) from error
    name = asked.model or asked.name
    if not name:
        raise Rejected(Problem(kind="missing_field", detail="model"))
    if not request.provider.has_model(name):
        raise Rejected(Problem(kind="unknown_model", model=name))
    answers = ["completion", "tools", "thinking"]
    return told(
        {
            "modelfile": f"FROM {name}",
            "parameters": "",
            "template": "{{ .Prompt }}",
            "details": _DETAILS,
            "model_info": {"general.architecture": "llama", "llama.context_length": 131_072},
            "capabilities": ["embedding"] if "embed" in name else answers,
            "modified_at": _MODIFIED,
        }
    )
