"""llmring: alias-first routing of LLM calls.

Public names are loaded on first use (PEP 562), so that `import llmring` costs a few milliseconds and touches nothing:
no HTTP client, no event loop, no network, no files.
"""

from importlib import import_module
from typing import TYPE_CHECKING

__version__ = "2.0.0a1"

if TYPE_CHECKING:
    from llmring.chat import (
        Cache,
        ChatChunk,
        ChatRequest,
        ChatResponse,
        Choice,
        JSONMode,
        JSONSchema,
        Message,
        NamedTool,
        NativeTurn,
        Note,
        TokenLogprob,
        Tool,
        ToolCall,
    )
    from llmring.embeddings import EmbedResponse
    from llmring.errors import AllModelsFailed, BudgetExceeded, ConfigError, LLMRingError, ProviderError, StreamBroken
    from llmring.live import LiveModel
    from llmring.lockfile import Budget, Lockfile, read_lockfile
    from llmring.lockfile.digest import lock_digest
    from llmring.parts import AudioPart, DocumentPart, ImagePart, Inline, Link, ProviderFile, RegisteredFile, TextPart
    from llmring.providers.files import FileInfo
    from llmring.receipts import Receipt, ReceiptGenerator, ReceiptSigner
    from llmring.refs import ModelRef
    from llmring.registry.catalog import Catalog, ModelFacts
    from llmring.registry.client import RegistryClient
    from llmring.router.map.report import Report
    from llmring.router.map.rows import Row
    from llmring.router.map.run import MapRun
    from llmring.router.opening import open_router
    from llmring.router.router import Router
    from llmring.router.streaming import ChatStream
    from llmring.status import RouterStatus
    from llmring.telemetry.telemetry import Telemetry
    from llmring.trace import Considered, Decision, Trace, TracedRoute, Verdict
    from llmring.usage import Cost, CostBreakdown, CostEstimate, Usage

_HOMES = {
    "AllModelsFailed": "llmring.errors",
    "AudioPart": "llmring.parts",
    "Budget": "llmring.lockfile",
    "BudgetExceeded": "llmring.errors",
    "Cache": "llmring.chat",
    "Catalog": "llmring.registry.catalog",
    "ChatChunk": "llmring.chat",
    "ChatRequest": "llmring.chat",
    "ChatResponse": "llmring.chat",
    "ChatStream": "llmring.router.streaming",
    "Choice": "llmring.chat",
    "ConfigError": "llmring.errors",
    "Considered": "llmring.trace",
    "Cost": "llmring.usage",
    "CostBreakdown": "llmring.usage",
    "CostEstimate": "llmring.usage",
    "Decision": "llmring.trace",
    "DocumentPart": "llmring.parts",
    "EmbedResponse": "llmring.embeddings",
    "FileInfo": "llmring.providers.files",
    "ImagePart": "llmring.parts",
    "Inline": "llmring.parts",
    "JSONMode": "llmring.chat",
    "JSONSchema": "llmring.chat",
    "LLMRingError": "llmring.errors",
    "Link": "llmring.parts",
    "LiveModel": "llmring.live",
    "Lockfile": "llmring.lockfile",
    "MapRun": "llmring.router.map.run",
    "Message": "llmring.chat",
    "ModelFacts": "llmring.registry.catalog",
    "ModelRef": "llmring.refs",
    "NamedTool": "llmring.chat",
    "NativeTurn": "llmring.chat",
    "Note": "llmring.chat",
    "ProviderError": "llmring.errors",
    "ProviderFile": "llmring.parts",
    "Receipt": "llmring.receipts",
    "ReceiptGenerator": "llmring.receipts",
    "ReceiptSigner": "llmring.receipts",
    "RegisteredFile": "llmring.parts",
    "RegistryClient": "llmring.registry.client",
    "Report": "llmring.router.map.report",
    "Router": "llmring.router.router",
    "RouterStatus": "llmring.status",
    "Row": "llmring.router.map.rows",
    "StreamBroken": "llmring.errors",
    "Telemetry": "llmring.telemetry.telemetry",
    "TextPart": "llmring.parts",
    "TokenLogprob": "llmring.chat",
    "Tool": "llmring.chat",
    "ToolCall": "llmring.chat",
    "Trace": "llmring.trace",
    "TracedRoute": "llmring.trace",
    "Usage": "llmring.usage",
    "Verdict": "llmring.trace",
    "lock_digest": "llmring.lockfile.digest",
    "open_router": "llmring.router.opening",
    "read_lockfile": "llmring.lockfile",
}

__all__ = [
    "AllModelsFailed",
    "AudioPart",
    "Budget",
    "BudgetExceeded",
    "Cache",
    "Catalog",
    "ChatChunk",
    "ChatRequest",
    "ChatResponse",
    "ChatStream",
    "Choice",
    "ConfigError",
    "Considered",
    "Cost",
    "CostBreakdown",
    "CostEstimate",
    "Decision",
    "DocumentPart",
    "EmbedResponse",
    "FileInfo",
    "ImagePart",
    "Inline",
    "JSONMode",
    "JSONSchema",
    "LLMRingError",
    "Link",
    "LiveModel",
    "Lockfile",
    "MapRun",
    "Message",
    "ModelFacts",
    "ModelRef",
    "NamedTool",
    "NativeTurn",
    "Note",
    "ProviderError",
    "ProviderFile",
    "Receipt",
    "ReceiptGenerator",
    "ReceiptSigner",
    "RegisteredFile",
    "RegistryClient",
    "Report",
    "Router",
    "RouterStatus",
    "Row",
    "StreamBroken",
    "Telemetry",
    "TextPart",
    "TokenLogprob",
    "Tool",
    "ToolCall",
    "Trace",
    "TracedRoute",
    "Usage",
    "Verdict",
    "__version__",
    "lock_digest",
    "open_router",
    "read_lockfile",
]


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'llmring' has no attribute {name!r}")
    value = getattr(import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
