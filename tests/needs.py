"""What some tests need beside Python, and how to know whether it is there.

A test says by a mark of the need's name that it has it; without it the test is skipped.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Mapping

import pytest
import torch

from tests.browser import CHROMIUM
from tests.databases import postgres_programs
from tests.docking import why_not
from trainables.machine import describe_machine


def _no_postgres() -> str | None:
    return None if postgres_programs() else "no PostgreSQL server is installed"


def _no_browser() -> str | None:
    return None if CHROMIUM else "there is no Chromium here"


@functools.cache
def _no_compiler() -> str | None:
    return None if describe_machine().compiler else "no C++ compiler"


def _no_root() -> str | None:
    return None if os.geteuid() == 0 else "only root may do this"


NEEDS: Mapping[str, Callable[[], str | None]] = {
    "postgres": _no_postgres,
    "docker": why_not,
    "browser": _no_browser,
    "compiler": _no_compiler,
    "root": _no_root,
}
"""By the mark's name: why what is needed is not there, None where it is."""


def skip_without_needs(item: pytest.Item) -> None:
    """Have a test skipped, with the reason, where what it is marked with is not there."""
    reasons = [NEEDS[mark.name]() for mark in item.iter_markers() if mark.name in NEEDS]
    reasons += [_too_few_gpus(mark) for mark in item.iter_markers("gpu")]
    for reason in filter(None, reasons):
        item.add_marker(pytest.mark.skip(reason=reason))


def _too_few_gpus(mark: pytest.Mark) -> str | None:
    wanted, found = int(mark.kwargs.get("count", 1)), torch.cuda.device_count()
    return None if found >= wanted else f"needs {wanted} CUDA GPU, {found} found"
