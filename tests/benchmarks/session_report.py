"""What the driver spends on an epoch: history, journal and pruner, against stock Optuna.

    python -m tests.benchmarks.session_report

64 trials are open and report in turns, after others have ended. Ours is the call that an executor
makes for every epoch, with the default pruner, the study's journal and the history, all in files.
Stock Optuna is ``trial.report`` and ``should_prune`` of the median pruner over its journal.
CPU milliseconds a report, the system's time included; both in one process.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
from optuna.storages.journal import JournalFileBackend

from service.spec.file import parse_spec
from service.spec.model import SweepSpec
from service.study.messages import EpochReport
from service.study.session import Decision, StudySession
from service.study.study import open_study
from service.study.trial_flow import TrialFlow
from service.sweep.history import History
from tests.benchmarks.ten_thousand import build_spec

AIM = 0.2
EPOCHS = 40
_DEVICE = {"device": "cpu", "precision": "fp32", "lanes": "16", "fused": "exact"}


def read_spec(trials: int) -> SweepSpec:
    """The demo's space, a sampler that takes no time, and the default pruner."""
    spec: dict[str, Any] = build_spec(trials, slots=1, sampler="random")
    spec["search"] = {"sampler": "random"}
    spec["training"] = {**spec["training"], "max_epochs": EPOCHS}
    return parse_spec(spec, "the benchmark", Path())


def measure(number: int, epoch: int) -> dict[str, float]:
    """Metrics of an epoch; later trials are a little better, so that none is pruned."""
    loss = 1.0 + 1.0 / epoch - 1e-6 * number
    keys = ("train/loss", "gap/loss", "train/accuracy", "val/accuracy", "gap/accuracy", "lr")
    return {"val/loss": loss, **{key: loss + place for place, key in enumerate(keys)}}


def time_call(call: Callable[[], object]) -> float:
    """CPU milliseconds of a call."""
    start = time.process_time()
    call()
    return (time.process_time() - start) * 1e3


def time_ours(folder: Path, before: int, lanes: int) -> list[float]:
    """CPU milliseconds of every report of ``lanes`` trials, after so many others have ended."""
    spec, took = read_spec(before + lanes + 1), []
    with History(folder / "history.jsonl") as history:
        session = StudySession(
            open_study(spec, folder / "journal.log"),
            spec.space,
            metric="val/loss",
            max_epochs=EPOCHS,
            observers=[history],
        )
        session.prepare(before + lanes + 1, [])
        flow = TrialFlow(session, lambda: False, lambda: lanes)
        for count in (before, lanes):
            numbers = [a.number for a in (session.ask() for _ in range(count)) if a is not None]
            took = _run_lanes(flow, numbers)
    return took


def _run_lanes(flow: TrialFlow, numbers: list[int]) -> list[float]:
    took, running = [], set(numbers)
    for epoch in range(1, EPOCHS):
        for number in sorted(running):
            report = EpochReport(epoch=epoch, metrics=measure(number, epoch), ran_on=_DEVICE)
            start = time.process_time()
            decision = flow.report(number, report)
            took.append((time.process_time() - start) * 1e3)
            if decision is not Decision.CONTINUE:
                running.remove(number)
    for number in running:
        flow.session.complete(number, measure(number, EPOCHS), EPOCHS)
    return took


def time_stock(folder: Path, before: int, lanes: int) -> list[float]:
    """The same reports by Optuna alone, with a search of its own."""
    backend = JournalFileBackend(str(folder / "stock.log"))
    pruner = optuna.pruners.MedianPruner(n_warmup_steps=EPOCHS // 4)
    storage = optuna.storages.JournalStorage(backend)
    study = optuna.create_study(
        storage=storage, sampler=optuna.samplers.RandomSampler(), pruner=pruner
    )
    took: list[float] = []
    for count in (before, lanes):
        took, trials = [], {}
        for _ in range(count):
            trial = study.ask()
            trial.suggest_float("dropout", 0.0, 0.7)
            trials[trial.number] = trial
        for epoch in range(1, EPOCHS):
            for number, trial in list(trials.items()):
                loss = measure(number, epoch)["val/loss"]
                start = time.process_time()
                trial.report(loss, epoch)
                pruned = trial.should_prune()
                took.append((time.process_time() - start) * 1e3)
                if pruned:
                    study.tell(trials.pop(number), state=optuna.trial.TrialState.PRUNED)
        for trial in trials.values():
            study.tell(trial, 1.0)
    return took


def main() -> None:
    """Both, with few and with many trials before them."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--lanes", type=int, default=64)
    parser.add_argument("--before", type=int, nargs="+", default=[32, 400])
    parser.add_argument("--ours", action="store_true", help="without stock Optuna")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    for before in options.before:
        with tempfile.TemporaryDirectory() as name:
            ours = statistics.mean(time_ours(Path(name), before, options.lanes))
            met = "met" if ours <= AIM else "missed"
            print(f"after {before} trials: {ours:.3f} ms a report (aim {AIM}: {met})", flush=True)
            if not options.ours:
                stock = statistics.mean(time_stock(Path(name), before, options.lanes))
                print(f"  stock Optuna {stock:.3f} ms, {stock / ours:.1f} × as long", flush=True)


if __name__ == "__main__":
    main()
