"""What a test logs is kept, whatever tests before it have done to logging."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from service.base.server_logging import configure_logging
from tests.log_records import LogRecords


@pytest.fixture
def replaced() -> Iterator[None]:
    """Handlers of the root that a server has put there, as for the rest of its process."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    configure_logging()
    yield
    root.handlers[:], root.level = handlers, level


@pytest.mark.parametrize("count", [1, 2])
def test_records_are_kept_after_a_fixture_has_replaced_the_handlers(
    replaced: None, logs: LogRecords, count: int
) -> None:
    logging.getLogger("gapsweep.anything").warning("number %d", count)
    assert [r.getMessage() for r in logs.records] == [f"number {count}"]


def test_records_are_kept_after_a_test_has_replaced_them(logs: LogRecords) -> None:
    root = logging.getLogger()
    before = list(root.handlers)
    root.handlers.clear()
    try:
        logging.getLogger().warning("lost")
        assert logs.text == ""
    finally:
        root.handlers[:] = [h for h in before if h is not logs]


def test_the_next_test_has_its_records(logs: LogRecords) -> None:
    logging.getLogger().warning("kept")
    assert logs.text.endswith("kept")
