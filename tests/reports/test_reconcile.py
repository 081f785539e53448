"""A provider's bill against the ledger. The files are made up; their columns are those of the providers."""

from collections.abc import Mapping
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmring.errors import ConfigError
from llmring.reports.attempts import Detailed
from llmring.reports.billed import Reading, Tokens, read_export
from llmring.reports.exports import Role, kind_of, model_key
from llmring.reports.period import day_in
from llmring.reports.reconcile import Bill, Reconciled, reconcile
from llmring.usage import Usage
from llmring.zones import zone
from tests.reports.samples import attempt

CENT = Decimal("0.01")

OPENROUTER = """\
generation_id,created_at,cost_total,tokens_prompt,tokens_completion,tokens_cached,model_permaslug,user
gen-1,2026-08-01 12:00:00,0.25,1200,50,200,openai/gpt-4o-mini,
gen-2,2026-08-01 12:01:00,0.5,1200,50,200,openai/gpt-4o-mini,
"""

OPENROUTER_DAYS = """\
Date,Slug,Usage,BYOK Usage,Requests,Prompt Tokens,Completion Tokens,Reasoning Tokens
"2026-08-01 00:00:00","openai/gpt-4o-mini","0.5","7","2","2400","100","0"
"""

ANTHROPIC_USAGE = """\
usage_date_utc,model_version,api_key,workspace,usage_type,context_window,usage_input_tokens_no_cache,\
usage_input_tokens_cache_write_5m,usage_input_tokens_cache_write_1h,usage_input_tokens_cache_read,usage_output_tokens,\
web_search_count,inference_geo,speed
2026-08-01,claude-haiku-4-5-20251001,app,Default,standard,≤ 200k,2000,0,0,400,100,0,global,
"""

ANTHROPIC_COST = """\
usage_date_utc,model,workspace,api_key,usage_type,context_window,token_type,cost_usd,list_price_usd,cost_type
2026-08-01,Claude Haiku 4.5,Default,app,message,≤ 200k,input_no_cache,0.30,0.30,token
2026-08-01,Claude Haiku 4.5,Default,app,message,≤ 200k,input_cache_read,0.10,0.10,token
2026-08-01,Claude Haiku 4.5,Default,app,message,≤ 200k,output,0.10,0.10,token
"""

OPENAI_USAGE = """\
start_time,end_time,start_time_iso,end_time_iso,project_id,num_model_requests,user_id,api_key_id,model,batch,\
service_tier,input_tokens,output_tokens,input_cached_tokens,input_uncached_tokens
1785542400,1785628800,2026-08-01T00:00:00+00:00,2026-08-02T00:00:00+00:00,,2,,,gpt-4o-mini-2024-07-18,,,2400,100,\
400,2000
1785628800,1785715200,2026-08-02T00:00:00+00:00,2026-08-03T00:00:00+00:00,,,,,,,,,,,
"""

OPENAI_COST = """\
start_time,end_time,start_time_iso,end_time_iso,amount_value,amount_currency,line_item,project_id,organization_id
1785542400,1785628800,2026-08-01T00:00:00+00:00,2026-08-02T00:00:00+00:00,0.5000000000000000,usd,,,org-1
1785628800,1785715200,2026-08-02T00:00:00+00:00,2026-08-03T00:00:00+00:00,,,,,
"""

OPENAI_ITEMS = """\
start_time,end_time,start_time_iso,end_time_iso,amount_value,amount_currency,line_item,project_id
1785542400,1785628800,2026-08-01T00:00:00+00:00,2026-08-02T00:00:00+00:00,0.3,usd,"gpt-4o-mini-2024-07-18, input",
1785542400,1785628800,2026-08-01T00:00:00+00:00,2026-08-02T00:00:00+00:00,0.1,usd,"gpt-4o-mini-2024-07-18, cached \
input",
1785542400,1785628800,2026-08-01T00:00:00+00:00,2026-08-02T00:00:00+00:00,0.1,usd,"gpt-4o-mini-2024-07-18, output",
"""

GOOGLE_DAYS = """\
Date,Service description,Service ID,SKU description,SKU ID,Usage amount,Usage unit,List cost ($),\
Unrounded subtotal ($),Subtotal ($)
2026-08-01,Gemini API,X,Generate content input token count gemini 2.5 flash short input text,Y,"2,000",count,0.3,\
0.3,0.30
2026-08-01,Gemini API,X,Generate content cached input token count gemini 2.5 flash,Y,400,count,0.1,0.1,0.10
2026-08-01,Gemini API,X,Generate content output token count gemini 2.5 flash short input text,Y,100,count,0.1,0.1,0.10
2026-08-01,Cloud Run,X,CPU,Y,100,count,7,7,7
,,,,,,,7.5,7.5,7.5
"""

GOOGLE_MONTH = """\
Invoice number,1234567890,
Currency,USD,
Total amount due,$0.50,
Billing account name,Project name,Service description,SKU description,Usage start date,Usage end date,Usage amount,\
Usage unit,Unrounded Cost ($),Cost ($)
me,it,Gemini API,Generate content input token count gemini 2.5 flash,2026-08-01,2026-08-31,"2,000",count,0.3,0.30
me,it,Gemini API,Generate content cached input token count gemini 2.5 flash,2026-08-01,2026-08-31,400,count,0.1,0.10
me,it,Gemini API,Generate content output token count gemini 2.5 flash,2026-08-01,2026-08-31,100,count,0.1,0.10
"""

FILES = {
    "OpenRouter activity, by day": (OPENROUTER_DAYS, "openai/gpt-4o-mini"),
    "Anthropic usage": (ANTHROPIC_USAGE, "claude-haiku-4-5"),
    "Anthropic cost": (ANTHROPIC_COST, "claude-haiku-4-5-20251001"),
    "OpenAI usage": (OPENAI_USAGE, "gpt-4o-mini"),
    "OpenAI cost": (OPENAI_COST, "gpt-4o-mini"),
    "OpenAI cost, by item": (OPENAI_ITEMS, "gpt-4o-mini"),
    "Google Cloud billing report, by day": (GOOGLE_DAYS, "gemini-2.5-flash"),
    "Google Cloud cost table": (GOOGLE_MONTH, "gemini-2.5-flash"),
}


def paid(**fields: object) -> Detailed:
    """A quarter of a dollar, at twenty in the evening of Vienna."""
    parts = {"input": Decimal("0.15"), "cache_read": Decimal("0.05"), "output": Decimal("0.05")}
    return attempt(**{"cost_breakdown": parts, "provider_request_id": "gen-1", **fields})


def read(text: str, given: Mapping[Role, str] | None = None) -> Reading:
    return read_export(text.splitlines(keepends=True), "bill.csv", given or {}, zone)


def held(
    text: str, *entries: Detailed, given: Mapping[Role, str] | None = None, tolerance: Decimal = CENT
) -> Reconciled:
    reading = read(text, given)
    where = zone(reading.export.days_in if reading.export is not None else None)
    return reconcile(Bill(reading, "bill.csv"), entries, day_in(where), tolerance)


@pytest.mark.parametrize("name", FILES)
def test_a_bill_that_is_right_is_the_ledgers(name: str) -> None:
    text, model = FILES[name]
    result = held(text, paid(model=model), paid(model=model))
    assert (result.lines, result.exceeds, result.by) == ([], False, "day")
    assert result.same >= 1
    assert result.theirs_usd in (None, Decimal("0.5"))


@pytest.mark.parametrize("name", FILES)
def test_a_receipt_too_many_or_too_few_is_found(name: str) -> None:
    text, model = FILES[name]
    for count in (0, 1, 3):
        result = held(text, *[paid(model=model)] * count)
        assert result.exceeds
        assert {line.status for line in result.lines} == {"not in the ledger" if count == 0 else "differs"}


@pytest.mark.parametrize("name", FILES)
def test_a_file_is_known_by_its_columns(name: str) -> None:
    assert read(FILES[name][0]).name == name.removesuffix(", by item")


@pytest.mark.parametrize("delimiter", [";", "\t"])
def test_a_file_may_be_written_with_other_delimiters(delimiter: str) -> None:
    result = held(
        OPENROUTER_DAYS.replace(",", delimiter), paid(model="openai/gpt-4o-mini"), paid(model="openai/gpt-4o-mini")
    )
    assert not result.exceeds


def test_requests_are_matched_one_by_one() -> None:
    result = held(OPENROUTER, paid(), paid(provider_request_id="gen-3"))
    told = {line.when: (line.status, line.difference_usd) for line in result.lines}
    assert (result.by, result.same) == ("request", 1)
    assert told == {
        "gen-2": ("not in the ledger", Decimal("0.5")),
        "gen-3": ("not in the file", Decimal("-0.25")),
    }
    assert (result.theirs_usd, result.ours_usd, result.difference_usd) == (
        Decimal("0.75"),
        Decimal("0.50"),
        Decimal("0.25"),
    )


def test_another_price_of_a_request_is_found_to_the_cent() -> None:
    other = paid(provider_request_id="gen-2", total_cost=Decimal("0.49"))
    assert not held(OPENROUTER, paid(), other).exceeds
    (line,) = held(OPENROUTER, paid(), other, tolerance=Decimal("0.009")).lines
    assert (line.when, line.status, line.difference_usd) == ("gen-2", "differs", CENT)


def test_many_small_differences_add_up() -> None:
    lines = "".join(f"gen-{number},2026-08-01,0.25,0,0,0,m,\n" for number in range(20))
    text = OPENROUTER.splitlines(keepends=True)[0] + lines
    cheaper = [
        paid(provider_request_id=f"gen-{number}", total_cost=Decimal("0.249"), usage=Usage()) for number in range(20)
    ]
    result = held(text, *cheaper)
    assert (result.lines, result.difference_usd, result.exceeds) == ([], Decimal("0.020"), True)


def test_what_has_no_price_in_the_ledger_is_a_difference() -> None:
    result = held(OPENROUTER, paid(), paid(provider_request_id="gen-2", total_cost=None))
    assert (result.exceeds, result.unpriced) == (True, 1)


def test_a_refusal_owes_nothing() -> None:
    refused = paid(outcome="RateLimited", provider_request_id="gen-9", usage=None, total_cost=None, cost_breakdown=None)
    assert not held(OPENAI_COST, paid(), paid(), refused).exceeds
    assert not held(OPENROUTER, paid(), paid(provider_request_id="gen-2", total_cost=Decimal("0.5")), refused).unpriced


def test_what_ended_outside_of_the_files_days_is_not_compared() -> None:
    before = paid(timestamp="2026-07-31T23:59:59.000000Z")
    assert not held(OPENAI_COST, paid(), paid(), before).exceeds


def test_days_of_a_provider_are_in_its_time_zone() -> None:
    night = paid(model="gemini-2.5-flash", timestamp="2026-08-02T05:00:00.000000Z")
    assert not held(GOOGLE_DAYS, night, night).exceeds
    early = paid(model="gemini-2.5-flash", timestamp="2026-08-01T05:00:00.000000Z")
    assert held(GOOGLE_DAYS, early, early).exceeds


def test_amounts_that_a_provider_rounds_may_differ_by_that() -> None:
    parts = {"input": Decimal("0.152"), "cache_read": Decimal("0.052"), "output": Decimal("0.052")}
    dearer = paid(model="claude-haiku-4-5", cost_breakdown=parts, total_cost=Decimal("0.256"))
    result = held(ANTHROPIC_COST, dearer, dearer)
    assert (result.exceeds, result.allowed_usd) == (False, Decimal("0.025"))


def test_rows_without_a_day_are_left_out_and_counted() -> None:
    reading = read(GOOGLE_DAYS)
    assert len(list(reading.rows)) == 3
    assert reading.left_out == 0
    text = OPENROUTER_DAYS + '"Total","","0.5","","","","",""\n'
    reading = read(text)
    assert (len(list(reading.rows)), reading.left_out) == (1, 1)


def test_columns_can_be_named() -> None:
    text = "When,Which,Paid\n2026-08-01,gpt-4o-mini,$0.50\n"
    given: dict[Role, str] = {"day": "when", "model": "Which", "cost": "Paid"}
    result = held(text, paid(), paid(), given=given)
    assert (result.same, result.exceeds) == (1, False)


@pytest.mark.parametrize(
    ("text", "given", "told"),
    [
        ("a,b\n1,2\n", {}, r"the columns of bill.csv are not known: 'a', 'b'. Say which is which: --map day=COLUMN"),
        ("a,b\n1,2\n", {"day": "c", "cost": "b"}, r"bill.csv has no column 'c': there are 'a', 'b'"),
        ("a,b\n1,2\n", {"cost": "b"}, r"the columns of bill.csv are not known"),
        ("only words\n", {}, r"bill.csv is no CSV file: it has no line with the names of columns"),
        ("", {}, r"bill.csv is no CSV file"),
        ("a,b\nx1,2\n", {"day": "a", "cost": "b"}, r"bill.csv, line 2: a is no date: 'x1'"),
        ("a,b\n2026-08-01,two\n", {"day": "a", "cost": "b"}, r"bill.csv, line 2: b is no number: 'two'"),
        ("a,b\n2026-08-01,\n", {"day": "a", "cost": "b"}, r"bill.csv: it has no rows with a cost or tokens"),
        (OPENAI_COST.replace("usd", "eur"), {}, r"bill.csv, line 2: 'eur', where receipts are in US dollars"),
    ],
)
def test_what_cannot_be_read_is_said_so(text: str, given: dict[Role, str], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        held(text, given=given)


def costs(cell: str, delimiter: str = ";") -> Decimal | None:
    text = f"day;cost\n2026-08-01;{cell}\n".replace(";", delimiter)
    (row,) = read(text, {"day": "day", "cost": "cost"}).rows
    return row.usd


@pytest.mark.parametrize(
    ("cell", "usd"),
    [
        ("0.0153", "0.0153"),
        (".5", "0.5"),
        ("7.", "7"),
        ("$0.10", "0.10"),
        ("-$0.10", "-0.10"),
        ("$-0.10", "-0.10"),
        ("+1", "1"),
        ("$ 12", "12"),
        ("1,234.50", "1234.50"),
        ("-1,234,567.5", "-1234567.5"),
        ("1,234,567", "1234567"),
        ("1.5E-05", "0.000015"),
        ("0.0000000000000001", "1E-16"),
    ],
)
def test_amounts_are_read_with_points_and_commas_for_thousands(cell: str, usd: str) -> None:
    assert costs(cell) == Decimal(usd)


@pytest.mark.parametrize(
    "cell",
    [
        *("0,0153", "0,01528", "1,23", "0,015", "1,234,5", "12,34,567", "1.234,50", "1,2345.6", ",5", "1,,234"),
        *("1 234", "1_000", "1e5e5", "NaN", "Infinity", "--1", "$$1", "$", "٣", "1e999999", "1e-999999", "1e13"),
    ],
)
@pytest.mark.parametrize("delimiter", [";", "\t"])
def test_what_is_no_number_with_points_is_not_guessed(cell: str, delimiter: str) -> None:
    with pytest.raises(ConfigError, match=r"^bill.csv, line 2: cost is no number.*with a point for its decimals"):
        costs(cell, delimiter)


@given(st.decimals(0, 10**11, places=6))
def test_a_cost_with_a_decimal_comma_is_never_another_cost(usd: Decimal) -> None:
    with pytest.raises(ConfigError):
        costs(f"{usd:f}".replace(".", ","))
    assert costs(f"{usd:,f}") == usd


def test_a_cost_that_may_be_read_in_two_ways_is_not_guessed() -> None:
    for cell in ("1,234", "$12,345"):
        with pytest.raises(ConfigError, match=r"line 2: cost is either .* write it with a point for its decimals"):
            costs(cell)


@pytest.mark.parametrize(
    ("cell", "told"),
    [
        ("1e99999999", "input_tokens is no number"),
        ("1e-99999999", "input_tokens is no number"),
        ("12.7", r"input_tokens is no whole number: '12.7'"),
        ("2.400", r"input_tokens is no whole number: '2.400'"),
        ("2.000", r"input_tokens is either 2 or 2000"),
        ("-5", r"input_tokens is no number of tokens or requests"),
        ("9007199254740993", "input_tokens is no number"),
    ],
)
def test_tokens_are_whole_numbers(cell: str, told: str) -> None:
    with pytest.raises(ConfigError, match=f"^bill.csv, line 2: {told}"):
        held(OPENAI_USAGE.replace(",2400,", f",{cell},"))


@pytest.mark.parametrize("cell", ["2400", "2400.0", '"2,400"', "2.4e3", "2400.00"])
def test_tokens_may_be_spelled_as_programs_spell_them(cell: str) -> None:
    model = paid(model="gpt-4o-mini")
    assert not held(OPENAI_USAGE.replace(",2400,", f",{cell},"), model, model).exceeds


@pytest.mark.parametrize("rows", ["2026-08-01,m,1,234.50\n", "2026-08-01,m,1\n2026-08-02,m,1,2,3\n", ",,,7\n"])
def test_a_row_of_more_cells_than_names_is_not_read(rows: str) -> None:
    line = 1 + rows.count("\n")
    with pytest.raises(ConfigError, match=rf"^bill.csv, line {line}: it has \d cells, and there are names for 3"):
        held("day,model,cost\n" + rows, given={"day": "day", "model": "model", "cost": "cost"})


def test_hours_of_a_stored_cache_are_no_tokens() -> None:
    sku = "Gemini API,X,Cached content storage gemini 2.5 flash,Y,12.75,hour,0.1,0.1,0.10"
    told = [row.tokens for row in read(GOOGLE_DAYS + f"2026-08-01,{sku}\n").rows]
    assert told[-1] == Tokens()


def test_a_delimiter_behind_the_last_cell_is_no_cell() -> None:
    given: dict[Role, str] = {"day": "day", "model": "model", "cost": "cost"}
    assert held("day,model,cost\n2026-08-01,gpt-4o-mini,0.5,\n", paid(), paid(), given=given).same == 1


def test_a_column_of_two_is_not_chosen() -> None:
    given: dict[Role, str] = {"day": "day", "cost": "cost"}
    with pytest.raises(ConfigError, match=r"^bill.csv: 2 columns are called 'Cost'"):
        held("day,Cost,Cost\n2026-08-01,1,2\n", given=given)


def test_a_column_that_is_not_there_is_named_by_the_line_of_names() -> None:
    text = "Invoice,7,of August\n\nDay,Model,Total\n2026-08-01,gpt-4o,1,234.50\n"
    for wrong in ("Nope", "Totals"):
        told = rf"bill.csv has no column '{wrong}': there are 'Day', 'Model', 'Total'$"
        with pytest.raises(ConfigError, match=told):
            read(text, {"day": "Day", "model": "Model", "cost": wrong})


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Claude Haiku 4.5", "claude-haiku-4-5-20251001"),
        ("Claude 3.5 Sonnet 2024-10-22", "claude-3-5-sonnet-latest"),
        ("anthropic/claude-4.8-opus-20260528", "anthropic/claude-opus-4.8"),
        ("gpt-4o-mini-2024-07-18", "gpt-4o-mini"),
        ("gemini-2.5-flash-001", "Generate_content text output token count for gemini 2.5 flash batch"),
        ("gemini-2.5-pro", "Generate content input token count Gemini 2.5 Pro short input text"),
        ("gemini-embedding-001", "EmbedContent input token count for gemini-embedding-001"),
    ],
)
def test_spellings_of_a_model_are_known_as_one(one: str, other: str) -> None:
    assert model_key(one) == model_key(other)


def test_models_are_told_apart() -> None:
    names = [
        "gpt-4o",
        "gpt-4o-mini",
        "gpt-4.1",
        "gpt-5",
        "gpt-5.5",
        "claude-opus-4-5",
        "claude-opus-5-4",
        "gemini-2.5-flash",
    ]
    assert len({model_key(name) for name in names}) == len(names)


def test_kinds_of_tokens_are_known_by_the_providers_words() -> None:
    words = [
        "input_no_cache",
        "input_cache_read",
        "input_cache_write_5m",
        "output",
        " cached input",
        "uncached input",
        "storage",
    ]
    found = [kind_of(word) for word in words]
    assert found == ["input", "cache_read", "cache_write", "output", "cache_read", "input", "other"]
    assert kind_of(" ") is None


@given(st.lists(st.decimals(0, 100, places=6), min_size=1, max_size=20), st.data())
def test_a_bill_of_the_ledgers_own_prices_is_the_same_in_any_order(costs: list[Decimal], data: st.DataObject) -> None:
    lines = [f"gen-{number},2026-08-01,{usd:f},0,0,0,m,\n" for number, usd in enumerate(costs)]
    text = OPENROUTER.splitlines(keepends=True)[0] + "".join(data.draw(st.permutations(lines)))
    entries = [paid(provider_request_id=f"gen-{n}", total_cost=usd, usage=Usage()) for n, usd in enumerate(costs)]
    result = held(text, *data.draw(st.permutations(entries)), tolerance=Decimal(0))
    assert (result.same, result.lines, result.exceeds) == (len(costs), [], False)
