"""The two sides of the benchmark of the start, and when each part of ours ends: SIDE FOLDER."""

from __future__ import annotations

import functools
import importlib
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tests.commands import DIGITS, settings

MARK = "GAPSWEEP_FIRST_EPOCH"
"""The environment variable that names the file to make with the first epoch."""
BEGAN = "GAPSWEEP_BEGAN"
"""The environment variable that says when the command was started, in seconds since 1970."""
_ends: list[tuple[str, float, float]] = []


def describe(folder: Path) -> str:
    """A table: when each part of the last sweep ended, and the driver's CPU seconds until then."""
    ends = json.loads((folder / "parts.json").read_text())
    rows = [f"{'until':36} {'s':>6} {'CPU-s of the driver':>20}"]
    return "\n".join([*rows, *(f"{name:36} {s:6.2f} {cpu:20.2f}" for name, s, cpu in ends)])


def _note(name: str) -> None:
    if name not in {known for known, *_ in _ends}:
        _ends.append((name, time.time() - float(os.environ[BEGAN]), time.process_time()))


def _note_after(owner: Any, attribute: str, name: str) -> None:
    """Have the first end of a function noted."""
    call: Callable[..., Any] = getattr(owner, attribute)

    @functools.wraps(call)
    def noted(*arguments: Any, **options: Any) -> Any:
        try:
            return call(*arguments, **options)
        finally:
            _note(name)

    setattr(owner, attribute, noted)


def _tell_first_epoch() -> None:
    Path(os.environ[MARK]).touch()


def _watch(name: str) -> Any:
    """Import the session as the sweep does, and have its parts noted."""
    session = importlib.import_module(name)
    _note("imports for the examination")
    preflight = importlib.import_module("service.run.preflight")
    _note_after(preflight, "open_rows", "data loaded")
    _note_after(preflight, "examine", "network examined")
    _note_after(preflight, "run_preflight", "ranges of λ measured")
    _note_after(session.Session, "__init__", "study opened")
    first = session.History.epoch

    def epoch(self: Any, one: Any) -> None:
        first(self, one)
        _note("first epoch")
        _tell_first_epoch()

    session.History.epoch = epoch
    _note_after(session.LateRuns, "write", "MLflow imported, its runs open")
    return session


def run_ours(folder: Path) -> None:
    """The command ``gapsweep run`` with the ready sweep, four trials and no confirmation."""
    from service.cli import main

    _note("command imported")
    from service.cluster import compat
    from service.run import prepare

    _note_after(compat, "_start_what_is_used", "Ray imported")
    _note_after(compat, "_prestart_processes", "Ray runs, processes asked for")
    prepare.import_module = _watch  # type: ignore[assignment,attr-defined]  # noted as it is imported
    changes = settings("budget.trials=4", "confirm=off", "training.max_epochs=5")
    sys.argv = ["gapsweep", "run", str(DIGITS), "--home", str(folder / "home"), *changes]
    try:
        main()
    finally:
        (folder / "parts.json").write_text(json.dumps(_ends))


def _train(config: dict[str, float]) -> None:
    """The baseline's training, with a dropout rate, as a function trainable."""
    from ray import tune

    for metrics in _iterate(config):
        tune.report(metrics)


def _iterate(config: dict[str, float]) -> Iterator[dict[str, float]]:
    import torch

    from service.spec.file import load_spec
    from trainables.build import build_run
    from trainables.data.datasets import open_rows
    from trainables.loop import train

    torch.set_num_threads(1)
    spec = load_spec(DIGITS, ["training.max_epochs=5"])
    assert spec.data is not None
    splits = open_rows(spec.data).divide()
    point = {**spec.neutral_point(), **config}
    for result in train(build_run(spec, point, splits, baseline=False, device="cpu")):
        yield dict(result.metrics)


def run_bare(folder: Path) -> None:
    """Ray Tune as it comes, for the same loop."""
    import ray
    from ray import tune

    class Clock(tune.Callback):
        def on_trial_result(self, *_: Any, **__: Any) -> None:
            _tell_first_epoch()

    ray.init(num_cpus=os.cpu_count(), include_dashboard=False, log_to_driver=False)
    tune.Tuner(
        _train,
        param_space={"dropout": tune.uniform(0.0, 0.7)},
        tune_config=tune.TuneConfig(
            metric="val/loss", mode="min", num_samples=4, max_concurrent_trials=2
        ),
        run_config=tune.RunConfig(storage_path=str(folder / "ray"), callbacks=[Clock()], verbose=0),
    ).fit()


if __name__ == "__main__":
    {"ours": run_ours, "bare": run_bare}[sys.argv[1]](Path(sys.argv[2]))
