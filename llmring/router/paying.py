"""From a request's routes to its payment: what an attempt at each may cost, by prices and models as they are."""

from collections.abc import Callable, Sequence
from decimal import Decimal

from llmring.billing import rule_of
from llmring.chat import ChatRequest, Completion
from llmring.embeddings import Embeddings
from llmring.money.amounts import share_of
from llmring.money.budgets import Budgets, Scope
from llmring.money.payment import Payment, chat_most, chat_usd, texts_most, texts_usd
from llmring.money.worst import Most, most
from llmring.pricing import Prices
from llmring.providers.route import Route
from llmring.providers.worker import ProviderWorker
from llmring.refs import ModelRef

PricesOf = Callable[[ModelRef], Prices | None]


def chat_payment(
    budgets: Budgets,
    scope: Scope,
    routes: Sequence[Route],
    workers: Sequence[ProviderWorker],
    prices: PricesOf,
    request: Callable[[], ChatRequest],
) -> Payment:
    """`request()` is what would be sent now. Raises ConfigError for a model whose cost nothing bounds."""
    known: dict[int, tuple[object, object, object, int]] = {}

    def most_at(index: int) -> int:
        route, asked = routes[index], request()
        listed, capabilities = prices(route.ref), route.model.capabilities
        kept = known.get(index)
        # Worked out once, until a model says what it does not take or the price list changes.
        if kept is not None and kept[0] is asked and kept[1] is listed and kept[2] is capabilities:
            return kept[3]
        nanos = request_most(asked, route, workers[index], listed)
        known[index] = (asked, listed, capabilities, nanos)
        return nanos

    def cost(index: int, answered: Completion | Embeddings) -> Decimal | None:
        return chat_usd(answered, prices(routes[index].ref)) if isinstance(answered, Completion) else None

    return _checked(Payment(budgets, scope, most_at, cost), routes)


def texts_payment(
    budgets: Budgets,
    scope: Scope,
    routes: Sequence[Route],
    workers: Sequence[ProviderWorker],
    prices: PricesOf,
    texts: Callable[[ProviderWorker], Sequence[str]],
) -> Payment:
    """Of a request for vectors of `texts(worker)`. Raises ConfigError for a model whose cost nothing bounds."""

    def most_at(index: int) -> int:
        route, worker = routes[index], workers[index]
        return texts_most(texts(worker), route, worker.endpoint.kind, prices(route.ref))

    def cost(index: int, answered: Completion | Embeddings) -> Decimal | None:
        return texts_usd(answered, prices(routes[index].ref)) if isinstance(answered, Embeddings) else None

    return _checked(Payment(budgets, scope, most_at, cost), routes)


def request_most(request: ChatRequest, route: Route, worker: ProviderWorker, prices: Prices | None) -> int:
    """As `chat_most`, of a request as the caller made it."""
    return chat_most(worker.shown(request), route, worker.endpoint.kind, prices)


def worst_of(request: ChatRequest, route: Route, worker: ProviderWorker, prices: Prices | None) -> Most:
    """What `request_most` reserves, with its tokens; or what has no bound."""
    return most(worker.shown(request), route.model, route.counting.family, worker.endpoint.kind, prices)


def batch_payment(
    budgets: Budgets, scope: Scope, route: Route, worker: ProviderWorker, prices: PricesOf, request: ChatRequest
) -> Payment:
    """Of a row in a batch, at the batch's price. Raises ConfigError for a model whose cost nothing bounds."""
    rule = rule_of(route.ref.provider)

    def most_at(_: int) -> int:
        return share_of(request_most(request, route, worker, prices(route.ref)), rule.batch_share)

    return _checked(Payment(budgets, scope, most_at, lambda *_: None, lasting=True), [route])


def _checked(payment: Payment, routes: Sequence[Route]) -> Payment:
    payment.check([index for index, route in enumerate(routes) if route.credential.missing is None])
    return payment
