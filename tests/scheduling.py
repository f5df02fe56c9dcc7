"""How the whole suite is divided among several processes, the workers of pytest-xdist.

Some of its time the suite waits: for containers that start, for deadlines. A worker runs
whole files, and all files of a group, which share what takes longest to start: the stack in
Docker, the service, a Ray. The longest groups are begun first.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from xdist.remote import Producer
    from xdist.scheduler import LoadScopeScheduling

_GROUPS = (
    ("tests/docker/",),
    ("tests/e2e/test_service.py",),
    (  # those that use the Ray that is started for all tests
        "tests/contract/test_executors.py",
        "tests/contract/test_fused_sweeps.py",
        "tests/e2e/test_ui.py",
        "tests/integration/test_api_results.py",
        "tests/integration/test_export.py",
        "tests/integration/test_failing_trials.py",
        "tests/integration/test_folded_sweep.py",
        "tests/integration/test_light_imports.py",
        "tests/integration/test_readme.py",
        "tests/integration/test_resume.py",
        "tests/integration/test_search.py",
        "tests/integration/test_sweep.py",
    ),
    ("tests/integration/test_groups.py",),
    ("tests/e2e/",),
    ("tests/integration/test_kills.py",),
    ("tests/integration/test_cluster.py",),
    ("tests/integration/test_fashion.py",),
    (  # those that import transformers, Lightning or torchmetrics
        "tests/unit/test_calibration_error.py",
        "tests/unit/test_data_modules.py",
        "tests/unit/test_directions.py",
        "tests/unit/test_huggingface.py",
        "tests/unit/test_lightning_callback.py",
        "tests/unit/test_lightning_modules.py",
        "tests/unit/test_measure.py",
        "tests/unit/test_natural_forms.py",
        "tests/unit/test_randomness.py",
    ),
)
"""The beginnings of the paths of each group's files. Any other file is a group of its own."""
_THEN = ("tests/integration/", "tests/contract/", "tests/unit/")
_MOST_WORKERS = 6
"""More would share fewer of the things that take long to start."""


def use_workers(config: pytest.Config) -> None:
    """Have the whole suite run by workers, unless something was asked for on the command line.

    A part of it, named by paths, is run in this process, where a debugger works.
    """
    whole = config.args_source is pytest.Config.ArgsSource.TESTPATHS
    narrowed = ("keyword", "markexpr", "usepdb", "collectonly", "lf", "stepwise")
    chosen = any(config.getoption(name, None) for name in narrowed)
    unset = config.getoption("numprocesses", 0) is None and not is_worker(config)
    if whole and not chosen and unset:
        config.option.numprocesses = workers(waiting=1)


def workers(*, waiting: int = 0) -> int:
    """How many workers there are: one for each processor, and for each that waits most of its time.

    Each imports everything that tests import, which takes it 15 s of CPU.
    """
    return min((os.cpu_count() or 1) + waiting, _MOST_WORKERS)


def is_worker(config: pytest.Config) -> bool:
    """Whether this process is one of several that share a run."""
    return hasattr(config, "workerinput")


def hands_out_tests(config: pytest.Config) -> bool:
    """Whether this process gives its tests to others and runs none itself."""
    distributes = config.getoption("dist", "no") != "no" and not config.option.collectonly
    return distributes and not is_worker(config)


def group_of(nodeid: str) -> str:
    """The name of the group that one worker runs a test with."""
    path = nodeid.partition("::")[0]
    return next((group[0] for group in _GROUPS if path.startswith(group)), path)


def place_of(nodeid: str) -> int:
    """The place of a test's group in the order in which workers are given groups."""
    group = group_of(nodeid)
    groups = [first[0] for first in _GROUPS if not first[0].startswith(_THEN[-1])]
    order = [*groups, *_THEN]
    places = (place for place, start in enumerate(order) if group.startswith(start))
    return next(places, len(order))


def by_groups(config: pytest.Config, log: Producer) -> LoadScopeScheduling:
    """A scheduler that gives workers whole groups, in the order of the collected tests."""
    from xdist.scheduler import LoadScopeScheduling

    class GroupScheduling(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return group_of(nodeid)

    config.option.loadscopereorder = False
    return GroupScheduling(config, log)
