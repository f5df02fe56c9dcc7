"""What is examined before a sweep takes the threads of a trial."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch

from service.run import preflight
from tests.specs import parse


@pytest.fixture
def two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("two_threads")
def test_an_examination_takes_the_threads_of_a_trial(monkeypatch: pytest.MonkeyPatch) -> None:
    """More wait for each other over small matrices; afterwards the process has its own again."""
    seen: list[int] = []
    examine = preflight.examine

    def look(*arguments: Any) -> Any:
        seen.append(torch.get_num_threads())
        return examine(*arguments)

    monkeypatch.setattr(preflight, "examine", look)
    preflight.run_preflight(parse(resources={"cpus": 1}), "spec.yaml")
    assert seen == [1]
    assert torch.get_num_threads() == 2
