"""Every name that leaves in a span or a metric, in one table. Pure.

The names of `gen_ai.*`, `error.*`, `http.*` and `server.*` are those of OpenTelemetry's semantic conventions 1.41.1,
the last release that has them all: with 1.42.0 (2026-06-12) those for generative AI moved to a repository of their own,
open-telemetry/semantic-conventions-genai, where they are in development and change from day to day. A change of this
table is a change for whoever looks at dashboards. What no convention names begins with `llmring.`.
"""

from collections.abc import Mapping
from typing import Final

VERSION: Final = "1.41.1"
SCHEMA_URL: Final = f"https://opentelemetry.io/schemas/{VERSION}"

# Attributes of the conventions.
OPERATION: Final = "gen_ai.operation.name"
PROVIDER: Final = "gen_ai.provider.name"
REQUEST_MODEL: Final = "gen_ai.request.model"
REQUEST_STREAM: Final = "gen_ai.request.stream"
REQUEST_MAX_TOKENS: Final = "gen_ai.request.max_tokens"
REQUEST_TEMPERATURE: Final = "gen_ai.request.temperature"
REQUEST_TOP_P: Final = "gen_ai.request.top_p"
REQUEST_TOP_K: Final = "gen_ai.request.top_k"
REQUEST_SEED: Final = "gen_ai.request.seed"
REQUEST_FREQUENCY_PENALTY: Final = "gen_ai.request.frequency_penalty"
REQUEST_PRESENCE_PENALTY: Final = "gen_ai.request.presence_penalty"
REQUEST_CHOICE_COUNT: Final = "gen_ai.request.choice.count"
OUTPUT_TYPE: Final = "gen_ai.output.type"
RESPONSE_ID: Final = "gen_ai.response.id"
RESPONSE_MODEL: Final = "gen_ai.response.model"
RESPONSE_FINISH_REASONS: Final = "gen_ai.response.finish_reasons"
RESPONSE_TIME_TO_FIRST_CHUNK: Final = "gen_ai.response.time_to_first_chunk"
USAGE_INPUT_TOKENS: Final = "gen_ai.usage.input_tokens"
USAGE_OUTPUT_TOKENS: Final = "gen_ai.usage.output_tokens"
USAGE_CACHE_READ_TOKENS: Final = "gen_ai.usage.cache_read.input_tokens"
USAGE_CACHE_WRITE_TOKENS: Final = "gen_ai.usage.cache_creation.input_tokens"
USAGE_REASONING_TOKENS: Final = "gen_ai.usage.reasoning.output_tokens"
INPUT_MESSAGES: Final = "gen_ai.input.messages"
OUTPUT_MESSAGES: Final = "gen_ai.output.messages"
TOOL_DEFINITIONS: Final = "gen_ai.tool.definitions"
TOKEN_TYPE: Final = "gen_ai.token.type"
ERROR_TYPE: Final = "error.type"
HTTP_STATUS: Final = "http.response.status_code"
SERVER_ADDRESS: Final = "server.address"
SERVER_PORT: Final = "server.port"

# Metrics of the conventions.
OPERATION_DURATION: Final = "gen_ai.client.operation.duration"
TIME_TO_FIRST_CHUNK: Final = "gen_ai.client.operation.time_to_first_chunk"
TOKEN_USAGE: Final = "gen_ai.client.token.usage"

SECONDS_BUCKETS: Final = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)
TOKEN_BUCKETS: Final = tuple(4**power for power in range(14))
"""The conventions' bounds, from 1 to 67,108,864 tokens."""

CHAT: Final = "chat"
EMBEDDINGS: Final = "embeddings"
"""Values of `gen_ai.operation.name`."""

PROVIDERS: Final[Mapping[str, str]] = {
    "azure": "azure.ai.openai",
    "google": "gcp.gemini",
    "mistral": "mistral_ai",
    "openai-responses": "openai",
    "xai": "x_ai",
}
"""The conventions' word for a kind of provider, where it is not ours."""

# Ours, of spans.
KIND: Final = "llmring.operation"
ALIAS: Final = "llmring.alias"
MODEL: Final = "llmring.model"
MODELS: Final = "llmring.models"
LIMIT: Final = "llmring.limit"
LIMITS: Final = "llmring.limits"
PRIORITY: Final = "llmring.priority"
ATTEMPTS: Final = "llmring.attempts"
ATTEMPT_NUMBER: Final = "llmring.attempt.number"
ATTEMPT_SENT: Final = "llmring.attempt.sent"
FAILOVERS: Final = "llmring.failovers"
WAITED: Final = "llmring.waited_seconds"
REQUEST_ID: Final = "llmring.request_id"
STREAM_LEFT: Final = "llmring.stream.left"
BATCHED: Final = "llmring.batch"
BATCH_ID: Final = "llmring.batch.id"
BATCH_ROWS: Final = "llmring.batch.rows"
FILE_BYTES: Final = "llmring.file.bytes"
PROVIDER_NAME: Final = "llmring.provider"
COST: Final = "llmring.cost_usd"
COST_STATUS: Final = "llmring.cost_status"
INPUT_TOKENS: Final = "llmring.input_tokens"
OUTPUT_TOKENS: Final = "llmring.output_tokens"
DECISIONS: Final = "llmring.decisions"
OTHER_MODEL: Final = "llmring.other_model_answered"
LEFT_PIN: Final = "llmring.registry_left_the_pin"
ROWS: Final = "llmring.map.rows"
ROWS_ANSWERED: Final = "llmring.map.answered"
ROWS_FAILED: Final = "llmring.map.failed"
ROWS_RESUMED: Final = "llmring.map.resumed"
REFUSED: Final = "llmring.refusals"

WAIT_BEGAN: Final = "llmring.wait.began"
WAIT_ENDED: Final = "llmring.wait.ended"
"""Events of a call's span."""

# Ours, of metrics.
DIMENSION: Final = "llmring.dimension"
SHARED: Final = "llmring.shared"
STATE: Final = "llmring.breaker.state"
FROM_MODEL: Final = "llmring.from"
TO_MODEL: Final = "llmring.to"

CALL_DURATION: Final = "llmring.call.duration"
CALL_COST: Final = "llmring.call.cost"
QUEUE_WAIT: Final = "llmring.queue.wait"
LIMIT_LEVEL: Final = "llmring.limit.level"
BREAKER: Final = "llmring.breaker"
IN_FLIGHT: Final = "llmring.requests.in_flight"
IN_LINE: Final = "llmring.requests.in_line"
