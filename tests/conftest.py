"""What every test is under."""

from __future__ import annotations

import pytest
import torch


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests marked ``gpu`` are skipped, with the reason, where there is none, or too few."""
    found = torch.cuda.device_count()
    for item in items:
        for mark in item.iter_markers("gpu"):
            wanted = int(mark.kwargs.get("count", 1))
            if found < wanted:
                item.add_marker(pytest.mark.skip(reason=f"needs {wanted} CUDA GPU, {found} found"))
