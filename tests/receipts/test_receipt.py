"""A receipt's bytes: the same by three canonicalisers, and read back in one spelling only."""

import json
import re
from decimal import Decimal
from typing import Any

import msgspec
import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as some

from llmring.errors import ReceiptError
from llmring.pricing import Prices, cost_of
from llmring.receipts import Receipt, ReceiptGenerator, ReceiptSigner
from llmring.receipts.canonical import canonical
from llmring.receipts.receipt import GAP, HANDOVER, RECEIPT, Gap, Handover, dollars, payload, read, readable
from llmring.refs import ModelRef
from llmring.registry.store import read_bundled
from llmring.usage import Usage
from tests.receipts import strangers
from tests.receipts.samples import FULL, KEY, receipts

SEEDS = [
    "receipt_id",
    "timestamp",
    "alias",
    "profile",
    "lock_digest",
    "provider",
    "model",
    "prompt_tokens",
    "completion_tokens",
    "total_tokens",
    "input_cost",
    "output_cost",
    "total_cost",
    "signature",
]

_scalars = some.none() | some.booleans() | some.integers(-(2**53) + 1, 2**53 - 1) | some.text()
json_data = some.recursive(
    _scalars, lambda inner: some.lists(inner, max_size=4) | some.dictionaries(some.text(), inner, max_size=4)
)


@given(json_data)
def test_three_canonicalisers_write_the_same_bytes(value: object) -> None:
    written = canonical(value)
    assert written == strangers.canonical(value).encode()
    assert written == rfc8785.dumps(value)  # type: ignore[arg-type]  # JSON data


def test_every_character_is_spelled_as_the_library_does() -> None:
    text = "".join(map(chr, [*range(0xD800), *range(0xE000, 0x11000), 0x1F600, 0x10FFFF]))
    assert canonical([text]) == rfc8785.dumps([text])


@pytest.mark.parametrize("value", [2**53, -(2**53), float("nan"), "\ud800", {"\ud800": 1}, [float("inf")]])
def test_what_has_no_canonical_form_is_refused(value: object) -> None:
    with pytest.raises(ReceiptError, match="no RFC 8785 form"):
        canonical(value)


def test_fractions_are_written_as_javascript_does() -> None:
    assert canonical({"a": 1.0, "b": 1e21, "c": 0.000001, "d": 1e-7}) == b'{"a":1,"b":1e+21,"c":0.000001,"d":1e-7}'


@given(receipts)
def test_a_receipt_comes_back_as_it_was(receipt: Receipt) -> None:
    written = payload(receipt)
    assert read(RECEIPT, written) == receipt
    assert written == strangers.canonical(json.loads(written)).encode()


def test_the_fields_are_those_that_programs_know() -> None:
    assert set(SEEDS) <= set(Receipt.__struct_fields__)
    bare = json.loads(payload(ReceiptGenerator().generate_receipt("a", "p", "l", "openai", "m", None, {})))
    assert set(SEEDS) - {"signature"} <= set(bare)
    assert bare["total_tokens"] is None and bare["total_cost"] is None


def test_the_signature_is_no_part_of_the_bytes() -> None:
    assert payload(msgspec.structs.replace(FULL, signature="ed25519:x")) == payload(FULL)


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        (b" " + payload(FULL), "not spelled as RFC 8785"),
        (payload(FULL).replace(b'{"alias"', b'{"zoo":1,"alias"'), "unknown field `zoo`"),
        (
            payload(FULL).replace(b'"llmring_receipt":1', b'"llmring_receipt":2'),
            "of version 2, and this llmring reads 1",
        ),
        (payload(FULL).replace(b'"prompt_tokens":1200', b'"prompt_tokens":-1'), "prompt_tokens"),
        (payload(FULL).replace(b'"prompt_tokens":1200', b'"prompt_tokens":1200.0'), "got `float`"),
        (payload(FULL).replace(b'"attempt":1', b'"attempt":1,"attempt":1'), "RFC 8785"),
        (payload(FULL).replace(b'"alias":"s', b'"alias":"\\u0073'), "RFC 8785"),
        (payload(FULL)[:-1], "not a receipt"),
        (b"[]", "not a receipt"),
    ],
)
def test_one_spelling_is_read_and_no_other(wrong: bytes, why: str) -> None:
    with pytest.raises(ReceiptError, match=why):
        read(RECEIPT, wrong)


def test_gaps_and_handovers_are_entries_of_their_own() -> None:
    gap = Gap(
        llmring_gap=1,
        missing=3,
        began_at="a",
        ended_at="b",
        why="full",
        timestamp="c",
        ledger="l",
        sequence=0,
        key_id="k",
    )
    handover = Handover(
        llmring_handover=1, to_key_id="k2", to_public_key="x", timestamp="c", ledger="l", sequence=1, key_id="k"
    )
    assert read(GAP, payload(gap)) == gap
    assert read(HANDOVER, payload(handover)) == handover
    with pytest.raises(ReceiptError, match="not a receipt"):
        read(RECEIPT, payload(gap))
    with pytest.raises(ReceiptError, match="nothing of a ledger"):
        read("text/plain", b"{}")


@pytest.mark.parametrize("counter", [-1, 2**53])
def test_a_counter_out_of_range_is_no_receipt(counter: int) -> None:
    with pytest.raises(ReceiptError, match="counter"):
        payload(msgspec.structs.replace(FULL, usage={"input_tokens": counter}))


_anything = json_data | some.floats() | some.binary() | some.just("half \ud800") | some.integers(min_value=2**53)


@given(some.sampled_from(Receipt.__struct_fields__), _anything)
def test_what_is_signed_can_be_read_again_whatever_is_in_it(name: str, value: object) -> None:
    wrong = msgspec.structs.replace(FULL, **{name: value})
    try:
        data = readable(wrong)
    except ReceiptError:
        with pytest.raises(ReceiptError):
            ReceiptSigner(KEY).sign_receipt(wrong)
        return
    assert payload(read(RECEIPT, data)) == data


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"alias": 5}, "alias must be text, not int"),
        ({"profile": None}, "profile must be text, not NoneType"),
        ({"lock_digest": b"ab"}, "lock_digest must be text, not bytes"),
        ({"provider": "a\ud800b"}, r"provider must be text that UTF-8 can spell, not 'a\ud800b'"),
        ({"model": ["m"]}, "model must be text, not list"),
        ({"receipt_id": 7}, "receipt_id must be text, not int"),
        ({"usage": {"prompt_tokens": 1.5}}, "prompt_tokens must be a whole number, not float"),
        ({"usage": {"completion_tokens": "7"}}, "completion_tokens must be a whole number, not str"),
        ({"usage": {"prompt_tokens": True}}, "prompt_tokens must be a whole number, not bool"),
        ({"usage": {"prompt_tokens": -1}}, "prompt_tokens is -1: a count of tokens is a whole number"),
        ({"usage": 5}, "usage must be a dictionary, not int"),
        ({"usage": Usage(input_tokens=1.5)}, "input_tokens must be a whole number, not float"),  # type: ignore[arg-type]  # on purpose
        ({"costs": 5}, "costs must be a dictionary, not int"),
    ],
)
@pytest.mark.parametrize("signer", [None, ReceiptSigner(KEY)])
def test_a_receipt_by_hand_is_of_the_right_types(given: dict[str, Any], why: str, signer: ReceiptSigner | None) -> None:
    names = {name: name for name in ("alias", "profile", "lock_digest", "provider", "model")}
    with pytest.raises(ReceiptError, match=re.escape(why)):
        ReceiptGenerator(signer).generate_receipt(**{**names, "usage": None, "costs": {}, **given})


def test_what_a_provider_says_beside_its_tokens_is_no_fault() -> None:
    said: dict[str, Any] = {
        "prompt_tokens": 3,
        "completion_tokens": None,
        "prompt_tokens_details": {"cached_tokens": 1},
    }
    receipt = ReceiptGenerator().generate_receipt("a", "p", "l", "x", "m", said, {})
    assert (receipt.prompt_tokens, receipt.completion_tokens, receipt.total_tokens) == (3, None, None)


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"description": 5}, "description must be text, not int"),
        ({"tags": [5]}, "a tag must be text, not int"),
        ({"tags": "abc"}, "tags is a list of texts, not one text"),
        ({"receipts": [5]}, "a batch receipt is of receipts, not int"),
        ({"receipts": [msgspec.structs.replace(FULL, tenant=42)]}, "Expected `str | null`, got `int` - at `$.tenant`"),
    ],
)
def test_a_batch_receipt_by_hand_is_of_the_right_types(given: dict[str, Any], why: str) -> None:
    with pytest.raises(ReceiptError, match=re.escape(why)):
        ReceiptGenerator(ReceiptSigner(KEY)).generate_batch_receipt(**{"receipts": [FULL], **given})


def test_tokens_that_are_no_number_have_no_cost() -> None:
    with pytest.raises(ReceiptError, match="prompt_tokens must be a whole number, not str"):
        ReceiptGenerator().calculate_costs("openai", "m", "5", 1)  # type: ignore[arg-type]  # on purpose


@pytest.mark.parametrize(
    ("usd", "text"), [("0.10", "0.1"), ("1E-7", "0.0000001"), ("0E-7", "0"), ("1E+3", "1000"), ("12.50", "12.5")]
)
def test_money_has_one_spelling(usd: str, text: str) -> None:
    assert dollars(Decimal(usd)) == text


def test_costs_are_worked_out_by_the_models_prices() -> None:
    generator = ReceiptGenerator()
    info = {"dollars_per_million_tokens_input": 0.15, "dollars_per_million_tokens_output": 0.6}
    costs = generator.calculate_costs("openai", "gpt-4o-mini", 1000, 20, info)
    assert costs == {"input_cost": "0.00015", "output_cost": "0.000012", "total_cost": "0.000162"}
    assert set(generator.calculate_costs("openai", "unheard-of", 1, 1).values()) == {None}
    receipt = generator.generate_receipt(
        "a", "p", "l", "openai", "gpt-4o-mini", {"prompt_tokens": 1000, "completion_tokens": 20}, costs
    )
    assert (receipt.total_tokens, receipt.total_cost, receipt.signature) == (1020, "0.000162", None)
    counted = generator.generate_receipt("a", "p", "l", "x", "m", Usage(input_tokens=3, cache_read_tokens=4), {})
    assert (counted.prompt_tokens, counted.usage) == (7, {"input_tokens": 3, "cache_read_tokens": 4})


LISTED = read_bundled()
# Of GPT-5.4, above 272,000 tokens of input: twice the input, half as much again for the output, by its provider's rule.
OF_GPT = {"dollars_per_million_tokens_input": 2.5, "dollars_per_million_tokens_output": 15}
# Of Gemini 2.5 Pro, above 200,000, by the list.
OF_GEMINI = {
    "dollars_per_million_tokens_input": 1.25,
    "dollars_per_million_tokens_output": 10,
    "dollars_per_million_tokens_input_long_context": 2.5,
    "dollars_per_million_tokens_output_long_context": "15",
    "long_context_threshold_tokens": 200_000,
}


@pytest.mark.parametrize(
    ("provider", "model", "info", "prompt", "costs"),
    [
        ("openai", "gpt-5.4", OF_GPT, 272_000, ("0.68", "0.015", "0.695")),
        ("openai", "gpt-5.4", OF_GPT, 272_001, ("1.360005", "0.0225", "1.382505")),
        ("OpenAI", "gpt-5.4", OF_GPT, 272_001, ("1.360005", "0.0225", "1.382505")),
        ("openai", "gpt-4o", OF_GPT, 272_001, ("0.6800025", "0.015", "0.6950025")),
        ("acme", "gpt-5.4", OF_GPT, 272_001, ("0.6800025", "0.015", "0.6950025")),
        ("google", "gemini-2.5-pro", OF_GEMINI, 200_000, ("0.25", "0.01", "0.26")),
        ("google", "gemini-2.5-pro", OF_GEMINI, 200_001, ("0.5000025", "0.015", "0.5150025")),
        (
            "openai",
            "gpt-5.4",
            Prices(input=Decimal("2.5"), output=Decimal(15)),
            272_001,
            ("1.360005", "0.0225", "1.382505"),
        ),
    ],
)
def test_costs_are_worked_out_by_the_providers_rule(
    provider: str, model: str, info: Prices | dict[str, object], prompt: int, costs: tuple[str, str, str]
) -> None:
    found = ReceiptGenerator().calculate_costs(provider, model, prompt, 1000, info)
    assert found == dict(zip(("input_cost", "output_cost", "total_cost"), costs, strict=True))


@given(
    prompt=some.integers(0, 10**6),
    completion=some.integers(0, 10**5),
    which=some.sampled_from(["gpt-5.4", "gpt-4o-mini"]),
)
def test_costs_by_hand_are_those_of_a_router(prompt: int, completion: int, which: str) -> None:
    prices = LISTED.prices(ModelRef("openai", which))
    assert prices is not None
    usage = Usage(input_tokens=prompt, output_tokens=completion)
    asked = cost_of([usage], prices, known=True)
    found = ReceiptGenerator().calculate_costs("openai", which, prompt, completion, prices)
    assert found["total_cost"] == dollars(asked.usd or Decimal(0))


@pytest.mark.parametrize("name", ["input", "output", "input_long_context", "output_long_context"])
@pytest.mark.parametrize("rate", [-1, "-0.1", "NaN", float("inf"), "Infinity", "cheap", True, [1]])
def test_a_price_that_is_none_is_refused(name: str, rate: object) -> None:
    info = OF_GEMINI | {f"dollars_per_million_tokens_{name}": rate}
    with pytest.raises(ReceiptError, match=f"the price dollars_per_million_tokens_{name} is "):
        ReceiptGenerator().calculate_costs("google", "gemini-2.5-pro", 1, 1, info)


def test_prices_that_are_none_are_refused() -> None:
    with pytest.raises(ReceiptError, match="the price dollars_per_million_tokens_output is -1"):
        ReceiptGenerator().calculate_costs("a", "b", 1, 1, Prices(input=Decimal(1), output=Decimal(-1)))
    with pytest.raises(ReceiptError, match="long_context_threshold_tokens is -5: a count of tokens is a whole number"):
        ReceiptGenerator().calculate_costs("a", "b", 1, 1, OF_GEMINI | {"long_context_threshold_tokens": -5})


@pytest.mark.parametrize("count", [-1, 1.5, float("nan"), float("inf"), "10", True, None, 2**53])
def test_a_count_of_tokens_that_is_none_is_refused(count: object) -> None:
    generator = ReceiptGenerator()
    for prompt, completion, name in ((count, 1, "prompt_tokens"), (1, count, "completion_tokens")):
        with pytest.raises(ReceiptError, match=f"{name} (is|must be) "):
            generator.calculate_costs("openai", "gpt-4o", prompt, completion, OF_GPT)  # type: ignore[arg-type]  # on purpose
        if count is not None:
            usage = {"prompt_tokens": prompt, "completion_tokens": completion}
            with pytest.raises(ReceiptError, match=f"{name} (is|must be) "):
                generator.generate_receipt("a", "p", "l", "x", "m", usage, {})  # type: ignore[arg-type]  # on purpose


def test_a_usage_with_a_counter_below_nought_is_refused() -> None:
    with pytest.raises(ReceiptError, match="output_tokens is -3"):
        ReceiptGenerator().generate_receipt("a", "p", "l", "x", "m", Usage(input_tokens=9, output_tokens=-3), {})


@pytest.mark.parametrize("name", ["input_cost", "output_cost", "total_cost"])
@pytest.mark.parametrize("cost", ["-0.1", -1, Decimal("-0.000001"), Decimal("-Infinity"), Decimal("sNaN")])
def test_a_cost_below_nought_is_refused(name: str, cost: Decimal | str) -> None:
    with pytest.raises(ReceiptError, match=f"{name} is "):
        ReceiptGenerator().generate_receipt("a", "p", "l", "x", "m", None, {name: cost})


@pytest.mark.parametrize("cost", [0.1, "many", "NaN", Decimal("Infinity")])
def test_money_that_is_no_exact_number_is_refused(cost: object) -> None:
    with pytest.raises(ReceiptError, match="total_cost is"):
        ReceiptGenerator().generate_receipt("a", "p", "l", "x", "m", None, {"total_cost": cost})  # type: ignore[dict-item]  # on purpose
