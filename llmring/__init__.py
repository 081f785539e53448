"""llmring: alias-first routing of LLM calls.

Public names are loaded on first use (PEP 562), so that `import llmring` costs a few milliseconds and touches nothing:
no HTTP client, no event loop, no network, no files.
"""

from importlib import import_module
from typing import TYPE_CHECKING

__version__ = "2.0.0a1"

if TYPE_CHECKING:
    from llmring.chat import (
        ChatChunk,
        ChatRequest,
        ChatResponse,
        Cost,
        CostBreakdown,
        Message,
        NamedTool,
        Tool,
        ToolCall,
        Usage,
    )
    from llmring.errors import AllModelsFailed, ConfigError, LLMRingError, ProviderError
    from llmring.refs import ModelRef
    from llmring.router.batch import MapRun, Row
    from llmring.router.report import Report
    from llmring.router.router import Router, open_router
    from llmring.router.streaming import ChatStream

_HOMES = {
    "AllModelsFailed": "llmring.errors",
    "ChatChunk": "llmring.chat",
    "ChatRequest": "llmring.chat",
    "ChatResponse": "llmring.chat",
    "ChatStream": "llmring.router.streaming",
    "ConfigError": "llmring.errors",
    "Cost": "llmring.chat",
    "CostBreakdown": "llmring.chat",
    "LLMRingError": "llmring.errors",
    "MapRun": "llmring.router.batch",
    "Message": "llmring.chat",
    "ModelRef": "llmring.refs",
    "NamedTool": "llmring.chat",
    "ProviderError": "llmring.errors",
    "Report": "llmring.router.report",
    "Router": "llmring.router.router",
    "Row": "llmring.router.batch",
    "Tool": "llmring.chat",
    "ToolCall": "llmring.chat",
    "Usage": "llmring.chat",
    "open_router": "llmring.router.router",
}

__all__ = [
    "AllModelsFailed",
    "ChatChunk",
    "ChatRequest",
    "ChatResponse",
    "ChatStream",
    "ConfigError",
    "Cost",
    "CostBreakdown",
    "LLMRingError",
    "MapRun",
    "Message",
    "ModelRef",
    "NamedTool",
    "ProviderError",
    "Report",
    "Router",
    "Row",
    "Tool",
    "ToolCall",
    "Usage",
    "__version__",
    "open_router",
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
