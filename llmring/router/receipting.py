"""From an attempt on its way to what the ledger signs of it. On the requests' path: microseconds, no hash, no disk.

What takes longer, the lockfile's digest and what the registry says of a model, is looked up in the ledger's thread and
kept for as long as lockfile and catalog are the same.
"""

import hashlib
import hmac
import os
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial

import trio

from llmring.chat import Completion
from llmring.embeddings import Embeddings
from llmring.errors import ConfigError, ProviderError, RouterClosed
from llmring.lockfile import Lockfile
from llmring.lockfile.digest import lock_digest
from llmring.receipts.building import Attempted, Facts
from llmring.receipts.ledger import Ledger
from llmring.refs import ModelRef
from llmring.registry.catalog import Catalog
from llmring.registry.digest import facts_digest
from llmring.router.batching import BatchedRow
from llmring.router.journey import Journey
from llmring.router.streaming import Left

_RUN_BYTES = 8
_IDENTITY_BYTES = 16


class Receipts:
    """Leaves every attempt of a router to `ledger`, with the catalog as it is by then."""

    def __init__(self, ledger: Ledger, catalog: Callable[[], Catalog]) -> None:
        self._ledger = ledger
        self._catalog = catalog
        self._run = os.urandom(_RUN_BYTES).hex()
        self._lock: tuple[Lockfile, str] | None = None
        self._facts: tuple[Catalog, dict[ModelRef, Facts]] | None = None

    def ended(
        self,
        journey: Journey,
        answered: object,
        error: BaseException | None = None,
        partial_answer: Completion | None = None,
    ) -> None:
        """The newest attempt of `journey` has ended: answered, or with `error`, of a stream after `partial_answer`. A
        stream that has only begun to answer has not ended. Nothing that was wrong on this side before anything was sent
        is an attempt."""
        whole = answered if isinstance(answered, Completion | Embeddings) else None
        if (whole is None and error is None) or isinstance(error, ConfigError):
            return
        first, refusal = journey.origin or journey, error if isinstance(error, ProviderError) else None
        ref, seen = journey.route.ref, whole or partial_answer
        used, request_id = (seen.usage, seen.request_id) if seen is not None else (None, None)
        self._ledger.post(
            Attempted(
                kind=journey.kind,
                ended_at=datetime.now(UTC),
                call=f"{self._run}-{first.number}",
                part=journey.part,
                attempt=journey.tried,
                alias=first.request.model,
                profile=journey.start.profile,
                tenant=journey.terms.flow.tenant,
                model=ref,
                outcome="answered" if error is None else _outcome(error),
                asked=tuple(journey.texts) if journey.kind == "embed" else journey.request,
                answered=whole,
                partial=partial_answer,
                usage=used if used is not None or refusal is None else refusal.usage,
                service_tier=refusal.service_tier if refusal is not None else None,
                status=refusal.status if refusal is not None else None,
                request_id=refusal.request_id if refusal is not None and refusal.request_id else request_id,
                waited_seconds=journey.waited_seconds,
                took_seconds=trio.current_time() - journey.sent_at,
                lock=partial(self._lock_digest, journey.lockfile),
                facts=partial(self._facts_of, self._catalog(), ref),
            )
        )

    def batched(self, row: BatchedRow) -> None:
        """A batch has answered a row, or failed it. Left twice, by this process or the next one, it has one receipt."""
        whole = row.came if isinstance(row.came, Completion) else None
        refusal = row.came if isinstance(row.came, ProviderError) else None
        identity = _identity(row)
        self._ledger.post(
            Attempted(
                kind="batch",
                ended_at=datetime.now(UTC),
                call=f"batch-{identity[_IDENTITY_BYTES:].hex()}",
                attempt=1,
                alias=row.request.model,
                profile=row.profile,
                model=row.model,
                outcome="answered" if refusal is None else type(refusal).__name__,
                asked=row.request,
                answered=whole,
                usage=whole.usage if whole is not None else None,
                status=refusal.status if refusal is not None else None,
                request_id=row.came.request_id,
                batch=row.batch,
                tenant=row.tenant,
                identity=identity[:_IDENTITY_BYTES],
                took_seconds=row.took_seconds,
                lock=partial(self._lock_digest, row.lockfile),
                facts=partial(self._facts_of, self._catalog(), row.model),
            )
        )

    async def settled(self) -> None:
        """Wait until what was left is on disk, as far as it can be, and for seconds at most."""
        await self._ledger.settled()

    def _lock_digest(self, lockfile: Lockfile) -> str:
        if self._lock is None or self._lock[0] is not lockfile:
            self._lock = lockfile, lock_digest(lockfile)
        return self._lock[1]

    def _facts_of(self, catalog: Catalog, ref: ModelRef) -> Facts:
        if self._facts is None or self._facts[0] is not catalog:
            self._facts = catalog, {}
        known = self._facts[1]
        if ref not in known:
            facts = catalog.get(ref)
            known[ref] = Facts(
                version=catalog.version(ref.provider),
                digest=facts_digest(facts) if facts is not None else None,
                prices=catalog.prices(ref),
                known=facts is not None,
            )
        return known[ref]


def _identity(row: BatchedRow) -> bytes:
    """The same for the same row of the same batch, in whichever process. Its key may be a plain digest of its prompt,
    which a receipt must not let anybody try; so it is under the batch's tag, 122 random bits that no receipt has."""
    return hmac.digest(row.tag.encode(), b"receipt of the row " + row.key.encode(), hashlib.sha256)


def _outcome(error: BaseException) -> str:
    match error:
        case trio.Cancelled() | RouterClosed():
            return "cancelled"
        case Left():
            return "left"
        case _:
            return type(error).__name__
