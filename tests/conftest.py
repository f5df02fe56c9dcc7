"""How a run is divided among processes; what tests are under is in ``surroundings.py``.

A process that only hands tests to others imports nothing else: neither PyTorch nor the project.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import pytest

from tests.scheduling import by_groups, hands_out_tests, use_workers, workers
from tests.scratch import write_in_memory

if TYPE_CHECKING:
    from xdist.remote import Producer
    from xdist.scheduler import LoadScopeScheduling

# Each of the hundreds of processes that tests start would compile this project anew, and this one
# would rewrite the assertions of every test.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False
# Each new MLflow database has dozens of commits, of which each would wait for the disk.
write_in_memory()


@pytest.hookimpl(tryfirst=True)  # before workers are started
def pytest_cmdline_main(config: pytest.Config) -> None:
    """Run the whole suite by several processes."""
    use_workers(config)


def pytest_configure(config: pytest.Config) -> None:
    """Prepare the process that runs tests for them."""
    if not hands_out_tests(config):
        for name in ("tests.log_records", "tests.surroundings"):
            config.pluginmanager.import_plugin(name)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """What ``-n auto`` is."""
    return workers()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LoadScopeScheduling:
    """Give whole groups of tests to each of them."""
    return by_groups(config, log)
