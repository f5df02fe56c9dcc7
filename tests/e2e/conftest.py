"""What tests of the whole share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.docking import Docked, docked


@pytest.fixture(scope="session")
def stack() -> Iterator[Docked]:
    """The stack in Docker, built and up."""
    with docked() as running:
        yield running
