"""What every test is under."""

from __future__ import annotations

import json

import pytest
import torch

from tests.commands import DIGITS, SMALL, Ran, gapsweep, settings


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests marked ``gpu`` are skipped, with the reason, where there is none, or too few."""
    found = torch.cuda.device_count()
    for item in items:
        for mark in item.iter_markers("gpu"):
            wanted = int(mark.kwargs.get("count", 1))
            if found < wanted:
                item.add_marker(pytest.mark.skip(reason=f"needs {wanted} CUDA GPU, {found} found"))


@pytest.fixture(scope="session")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    """One small sweep for all tests that only read what it left."""
    home = tmp_path_factory.mktemp("home")
    done = gapsweep("run", str(DIGITS), "--json", "--home", str(home), *settings(*SMALL))
    assert done.returncode == 0, done.stderr
    return Ran(home, json.loads(done.stdout))
