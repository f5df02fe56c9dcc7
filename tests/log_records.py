"""Keeps what is logged during a test: for its asserts, and for the report if it fails.

pytest's own plugin for this (``caplog``) attaches two handlers to each logger that does not
propagate, before and after each of a test's three parts, and looks through all loggers for them: of
which libraries have hundreds. It is switched off in ``pyproject.toml``.
"""

from __future__ import annotations

import logging
from collections.abc import Generator, Iterator
from contextlib import contextmanager

import pytest


class LogRecords(logging.Handler):
    """The records of the test that runs, of all loggers that propagate."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []
        self.setFormatter(logging.Formatter("%(levelname)-8s %(name)s: %(message)s"))

    def emit(self, record: logging.LogRecord) -> None:
        """Keep it."""
        self.records.append(record)

    @property
    def text(self) -> str:
        """All of them, one a line, with tracebacks."""
        return "\n".join(self.format(record) for record in self.records)

    def clear(self) -> None:
        """Forget what was logged until now."""
        self.records.clear()

    @contextmanager
    def at_level(self, level: int, logger: str | None = None) -> Iterator[None]:
        """Let a logger, the root if none is named, log from a level on."""
        changed = logging.getLogger(logger)
        before = changed.level
        changed.setLevel(level)
        try:
            yield
        finally:
            changed.setLevel(before)


_RECORDS = LogRecords()


@pytest.fixture
def logs() -> LogRecords:
    """What this test logs."""
    return _RECORDS


def pytest_sessionfinish() -> None:
    """Keep no more."""
    logging.getLogger().removeHandler(_RECORDS)


def pytest_runtest_logstart() -> None:
    """Forget what the test before has logged."""
    _RECORDS.clear()
    _attach()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_call() -> None:
    """Keep records, also where a fixture has replaced the handlers."""
    _attach()


def _attach() -> None:
    """Attach the handler to the root, from which a server's logging takes all others away."""
    root = logging.getLogger()
    if _RECORDS not in root.handlers:
        root.addHandler(_RECORDS)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show what a test that failed has logged."""
    report = yield
    if report.failed and _RECORDS.records:
        report.sections.append((f"Captured log {call.when}", _RECORDS.text))
    return report
