"""What every test is under."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator

import pytest
import torch

from tests.commands import DIGITS, SMALL, Ran, gapsweep, settings
from tests.docking import IMAGE_BUILD
from tests.needs import skip_without_needs
from tests.patience import FACTOR, patience
from tests.rays import TOKEN, Ray, ray_cluster

# Two threads over small matrices take five times the CPU time that one takes.
torch.set_num_threads(1)
os.environ["OMP_NUM_THREADS"] = "1"
# Before Ray is imported: a Ray of this process's own has the same token as those that it joins.
os.environ.update(TOKEN)


@pytest.hookimpl(tryfirst=True)  # before marks are asked for by -m
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Scale each test's own time as the deadlines in it, and skip what cannot run here."""
    if FACTOR != 1:
        allowed = patience(float(config.getini("timeout")))
        for item in items:
            item.add_marker(pytest.mark.timeout(allowed))
    for item in items:
        skip_without_needs(item)
        if "shared_ray" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.ray)
    items.sort(key=_runs_in_docker)


def pytest_collection_finish(session: pytest.Session) -> None:
    """Build the image for the tests in Docker, which come last, beside all others."""
    if (
        any(_runs_in_docker(item) for item in session.items)
        and not session.config.option.collectonly
    ):
        IMAGE_BUILD.start()


def pytest_sessionfinish() -> None:
    """Leave no build behind."""
    IMAGE_BUILD.wait()


def _runs_in_docker(item: pytest.Item) -> bool:
    return item.get_closest_marker("docker") is not None and not item.get_closest_marker("skip")


@pytest.fixture(scope="session")
def shared_ray() -> Iterator[Ray]:
    """A Ray of two CPUs for all sweeps that kill nothing: it takes seconds to start one."""
    with ray_cluster(2) as ray:
        yield ray


@pytest.fixture(scope="session")
def ran(tmp_path_factory: pytest.TempPathFactory, shared_ray: Ray) -> Ran:
    """One small sweep for all tests that only read what it left."""
    home = tmp_path_factory.mktemp("home")
    where = ("--home", str(home), *shared_ray.options)
    done = gapsweep("run", str(DIGITS), "--json", *where, *settings(*SMALL), env=shared_ray.env)
    assert done.returncode == 0, done.stderr
    return Ran(home, json.loads(done.stdout))
