"""Small sweeps that run in the test's own process, on either executor."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from service.cluster.connection import Cluster
from service.run.create_sweep import create_sweep
from service.run.session_plan import SessionOptions
from service.run.sweep_session import Ending, run_sweep
from service.run.user_code import use_folders
from service.spec.file import parse_spec
from service.spec.model import SweepSpec
from service.study.records import Epoch, Trial
from service.sweep.home import Home, SweepFolder
from service.sweep.sweep_observer import SweepObserver
from tests.rays import Ray
from trainables.data.datasets import open_rows

BASE: dict[str, Any] = {
    "name": "contract",
    "trainable": "trainables.models:MLP",
    "data": {"name": "breast_cancer"},
    "model": {"hidden": [4]},
    "training": {"max_epochs": 4, "lr": 0.01},
    "space": {
        "penalty": {"choice": ["none", "l1", "l2"]},
        "lambda": {"float": [1e-4, 1e-1], "log": True, "when": {"penalty": ["l1", "l2"]}},
        "dropout": {"float": [0.0, 0.6]},
    },
    "early_stopping": "off",
    "search": {"pruner": "none"},
    "budget": {"trials": 3},
    "confirm": "off",
}


@dataclass
class Watcher(SweepObserver):
    """A view that keeps every epoch, and does what a test wants after each."""

    after_epoch: Callable[[Epoch], None] = lambda _: None
    epochs: list[Epoch] = field(default_factory=list)

    def epoch(self, epoch: Epoch) -> None:
        self.epochs.append(epoch)
        self.after_epoch(epoch)


@dataclass(frozen=True)
class Executor:
    """One of the two, the folder with a user's own modules, where its Ray is."""

    name: str
    modules: Path
    cluster: Cluster = field(default_factory=Cluster)

    def spec(self, **changes: Any) -> SweepSpec:
        """The base spec with some keys changed."""
        resources = {"executor": self.name, "concurrent": 1, **changes.get("resources", {})}
        raw = {**BASE, **changes, "resources": resources}
        return parse_spec(raw, "spec", self.modules)

    def new(self, home: Path, spec: SweepSpec) -> SweepFolder:
        return create_sweep(spec, Home(home), [str(self.modules)])

    def run(
        self, spec: SweepSpec, folder: SweepFolder, view: Watcher | None = None, **more: Any
    ) -> Ending:
        """Run what is left of a sweep, with no MLflow; ``more`` are a session's options."""
        home = Home(folder.path.parents[1])
        rows = open_rows(spec.data)
        watcher = view or Watcher()
        with use_folders(self.modules):
            options = SessionOptions(**more)
            return run_sweep(
                spec, rows, folder, home, [watcher], cluster=self.cluster, options=options
            )


@contextmanager
def modules_in(folder: Path, **sources: str) -> Iterator[Path]:
    """A user's own modules in a folder, which the driver imports too."""
    for name, source in sources.items():
        (folder / f"{name}.py").write_text(source)
    sys.path.insert(0, str(folder))
    yield folder
    sys.path.remove(str(folder))


@contextmanager
def executor_on(ray: Ray, modules: Path, log: Path) -> Iterator[Executor]:
    """The executor of a Ray, with one connection for every sweep of a module of tests."""
    cluster = Cluster(ray.address)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in ray.env.items():
            patch.setenv(name, value)
        with cluster.connect(log):
            yield Executor("ray", modules, cluster)


def facts(trial: Trial) -> Trial:
    """A trial without the times that it took."""
    epochs = tuple(replace(epoch, time=0.0) for epoch in trial.epochs)
    return replace(trial, epochs=epochs, seconds=0.0, started=None, ended=None)
