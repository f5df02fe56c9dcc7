"""What these tests share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.docking import Docked, docked


@pytest.fixture(scope="package")
def stack() -> Iterator[Docked]:
    """The stack in Docker, built and up while these tests run and no longer: others look about."""
    with docked() as running:
        yield running
