"""What every test is under."""

from __future__ import annotations

import functools
import gc
import json
import os
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest
import torch

from tests.commands import DIGITS, SMALL, Ran, gapsweep, settings
from tests.docking import IMAGE_BUILD
from tests.isolation import forget_user_code
from tests.needs import skip_without_needs
from tests.patience import FACTOR, patience
from tests.plotless import no_plots
from tests.rays import TOKEN, Ray, ray_cluster
from tests.scheduling import is_worker, place_of

# What is imported and collected stays: looking through it for garbage takes a third of the time of
# the collection, see pytest_collection_finish.
gc.disable()
# Two threads over small matrices take five times the CPU time that one takes.
torch.set_num_threads(1)
os.environ["OMP_NUM_THREADS"] = "1"
# Its own deadlines, of 200 ms for an example, are those of a fast machine with nothing else to do.
hypothesis.settings.register_profile(
    "patient", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("patient")
# Before Ray is imported: a Ray of this process's own has the same token as those that it joins.
os.environ.update(TOKEN)
# Ray's own 15 would have trials wait for whatever else this machine does.
os.environ.update({"RAY_worker_niceness": "0"})


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
    in_order = is_worker(config)
    items.sort(key=lambda item: place_of(item.nodeid) if in_order else _runs_in_docker(item))


def pytest_collection_finish(session: pytest.Session) -> None:
    """Build the image for the tests in Docker, which come last, beside all others."""
    gc.freeze()
    gc.enable()
    if (
        any(_runs_in_docker(item) for item in session.items)
        and not session.config.option.collectonly
        and not is_worker(session.config)  # there it is the first test's
    ):
        IMAGE_BUILD.start()


def pytest_sessionfinish() -> None:
    """Leave no build behind."""
    IMAGE_BUILD.wait()


def _runs_in_docker(item: pytest.Item) -> bool:
    return item.get_closest_marker("docker") is not None and not item.get_closest_marker("skip")


@pytest.fixture(autouse=True)
def working_directory() -> Iterator[None]:
    """Each test leaves this process where it was; folders of tests are deleted after them."""
    before = Path.cwd()
    yield
    left_at = Path.cwd()
    os.chdir(before)
    assert left_at == before, "the test has changed the working directory: use monkeypatch"


@pytest.fixture(scope="module", autouse=True)
def user_code_of_a_file() -> Iterator[None]:
    """Each test file leaves no user's modules for the next."""
    with forget_user_code():
        yield


@pytest.fixture(autouse=True)
def user_code(user_code_of_a_file: None) -> Iterator[None]:
    """Each test leaves no user's modules for the next, except those of its file's fixtures."""
    with forget_user_code():
        yield


@pytest.fixture(scope="module", autouse=True)
def objects_of_a_file() -> Iterator[None]:
    """What a file's tests imported is looked through for garbage once.

    Libraries look for it themselves, a ``Trainer`` of transformers before each training, and took
    a second each time in a process that has run half of the tests.
    """
    yield
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def no_waits_for_the_disk() -> Iterator[None]:
    """Tests kill processes, no machine: what the kernel was given is there without a wait."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda _: None)
        yield


@pytest.fixture
def unverified(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no export start a process that loads it: tests of exports and refits have such ones."""
    from trainables.analysis.export import export_network

    for module in ("export_best", "refit"):
        quick = functools.partial(export_network, verify=False)
        monkeypatch.setattr(f"service.run.{module}.export_network", quick)


@pytest.fixture(scope="module")
def without_plots() -> Iterator[None]:
    """Sweeps in this process draw no plots, which take most of a small sweep's time."""
    with no_plots():
        yield


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
