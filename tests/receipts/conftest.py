"""Writers that a test has opened are closed after it."""

from collections.abc import Iterator

import pytest

from tests.receipts.attempts import close_writers


@pytest.fixture(autouse=True)
def closed_writers() -> Iterator[None]:
    yield
    close_writers()
