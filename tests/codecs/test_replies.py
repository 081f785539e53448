"""What replies of all providers have in common."""

import pytest

from llmring.codecs.replies import request_id


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"x-request-id": "req_1"}, "req_1"),
        ({"request-id": "req_2"}, "req_2"),
        ({"x-generation-id": "gen-1", "x-request-id": "of a proxy"}, "gen-1"),
        ({"x-request-id": ""}, None),
        ({}, None),
    ],
)
def test_the_id_of_a_request_is_the_one_that_its_bill_names(headers: dict[str, str], expected: str | None) -> None:
    assert request_id(headers) == expected
