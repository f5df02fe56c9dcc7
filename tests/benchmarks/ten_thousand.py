"""10,000 trials of one second on simulated slots: what the service itself takes, by thousands.

    python -m tests.benchmarks.ten_thousand

Everything of a sweep is real but Ray and the training: its session, study, history and progress,
Tune's adapters, MLflow, the report. A worker that pretends answers at once with what an epoch
returns, and writes the weights of a network. Time is that of a discrete simulation: an epoch takes
its share of a second on its slot, and whatever the driver does in between takes as long as it took
here, one thing after the other, because the driver is one thread. Ideal are slots that never wait.

MLflow is written by a thread of its own, for which 20 minutes would pass meanwhile; here the
simulation stops every 100 trials until it has caught up. What it took of the processor is compared
with the simulated time, and the driver's own part is wall time, in which it had to share Python's
interpreter with that thread.
"""

from __future__ import annotations

import argparse
import gc
import heapq
import io
import json
import logging
import math
import resource
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median, quantiles
from typing import Any
from unittest.mock import patch
from zlib import crc32

import mlflow
import numpy as np
import torch
from ray.tune.schedulers import TrialScheduler

from service.cluster.connection import Cluster
from service.cluster.tune_adapters import Bridge, StudyScheduler, StudySearcher, SweepStopper
from service.cluster.tune_messages import from_config, to_result
from service.cluster.worker import TrialContext
from service.report.console import open_console
from service.report.progress import LineView
from service.run.sweep_session import create_sweep, run_sweep
from service.spec.file import parse_spec
from service.spec.model import SweepSpec
from service.study.messages import Assignment, EpochReport
from service.study.trial_flow import TrialFlow
from service.sweep.home import Home, SweepFolder
from service.tracking.outbox import Outbox
from trainables.data.datasets import open_rows
from trainables.loops.opening import open_run

EPOCHS = 5
"""Epochs of a trial of one second."""
AIM_RATIO, AIM_ASK, AIM_REPORT = 1.05, 0.020, 30.0
_EVERY = 100
"""Trials between two waits for MLflow."""
_METRICS = ("loss", "accuracy")


def build_spec(trials: int, slots: int, sampler: str) -> dict[str, Any]:
    """The demo's space with ranges of λ that need no measurement."""
    return {
        "name": "ten-thousand",
        "trainable": "trainables.models:MLP",
        "data": {"name": "digits", "val": 0.2, "test": 0.2, "seed": 0},
        "model": {"hidden": [16]},
        "training": {"max_epochs": EPOCHS, "batch_size": 64, "lr": 1e-3, "seed": 0},
        "space": {
            "penalty": {"choice": ["none", "l1", "l2", "elastic_net"]},
            "lambda": {"float": [1e-6, 1e-1], "log": True, "when": {"penalty": ["l1", "l2", "elastic_net"]}},
            "l1_ratio": {"float": [0.05, 0.95], "when": {"penalty": "elastic_net"}},
            "dropout": {"float": [0.0, 0.7]},
            "augmentation": {"choice": ["none", "shift", "affine", "noise"]},
            "augmentation_strength": {"float": [0.1, 1.0], "when": {"augmentation": ["shift", "affine", "noise"]}},
        },
        "early_stopping": {"metric": "val/loss"},
        "search": {
            "sampler": sampler,
            "pruner": {"name": "successive_halving", "min_epochs": EPOCHS - 1, "reduction_factor": 3},
        },
        "budget": {"trials": trials},
        "confirm": "off",
        "resources": {"concurrent": slots, "cpus": 0.01},
    }


class PretendingWorker:
    """Answers with the epochs of a training whose loss follows from its parameters."""

    def __init__(self, folder: SweepFolder, weights: bytes) -> None:
        self._folder, self._weights = folder, weights

    def answer(self, trial: Assignment, epoch: int) -> EpochReport:
        """One epoch's report; with the last one, the weights are on disk."""
        metrics = self._measure(trial, epoch)
        file = self._folder.checkpoint(trial.number)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(self._weights)
        if epoch < EPOCHS:
            return EpochReport(epoch=epoch, metrics=metrics, ran_on={"device": "cpu", "precision": "fp32"})
        self._folder.best_weights(trial.number).write_bytes(self._weights)
        best = {**metrics, "epoch": float(epoch)}
        control = best if trial.baseline else {}
        return EpochReport(epoch=epoch, metrics=metrics, best=best, control=control,
            ran_on={"device": "cpu", "precision": "fp32"})

    def _measure(self, trial: Assignment, epoch: int) -> dict[str, float]:
        noise = np.random.default_rng([trial.number, epoch]).normal(0, 0.01, 2)
        dropout = float(trial.params.get("dropout", 0.0))
        lam = float(trial.params.get("lambda", 1e-6) or 1e-6)
        loss = 0.1 + (dropout - 0.3) ** 2 + 0.01 * (math.log10(lam) + 3) ** 2 + 0.5 / epoch
        train = loss - 0.05 + float(noise[0])
        val = loss + float(noise[1])
        return {
            "train/loss": train, "val/loss": val, "gap/loss": val - train,
            "train/accuracy": 1 - train / 3, "val/accuracy": 1 - val / 3, "gap/accuracy": (val - train) / 3,
            "lr": 1e-3, "penalty": 0.01, "sparsity": 0.0,
        }


@dataclass
class Figures:
    """What was measured: seconds of each ask, memory by the number of trials, the simulated time."""

    asks: list[float] = field(default_factory=list)
    memory: dict[int, float] = field(default_factory=dict)
    ended: float = 0.0
    trained: float = 0.0
    busy: float = 0.0
    busy_cpu: float = 0.0
    tracked_cpu: float = 0.0
    waited: float = 0.0
    marks: dict[int, float] = field(default_factory=dict)


@dataclass
class _TuneTrial:
    trial_id: str


class Simulation:
    """Slots whose trainings take simulated time, driven through Tune's adapters as Tune does."""

    def __init__(self, worker: PretendingWorker, slots: int, figures: Figures, marks: tuple[int, ...]) -> None:
        self._worker, self._slots, self._figures, self._marks = worker, slots, figures, marks
        self._now = 0.0

    def run(self, flow: TrialFlow, context: TrialContext, concurrent: int) -> None:
        """Take the place of :func:`service.cluster.tune_run.run_trials`."""
        bridge = Bridge(flow)
        searcher, scheduler = StudySearcher(bridge), StudyScheduler(bridge)
        stopper = SweepStopper(bridge)
        events: list[tuple[float, int, str, Assignment, int]] = []
        free, asked, finished = self._slots, 0, 0
        open_ = True
        while events or open_:
            while free and open_:
                tune_id = f"t{asked}"
                config = self._time(lambda: searcher.suggest(tune_id), self._figures.asks)
                if config is None or not isinstance(config, dict):
                    open_ = open_ and config is None
                    break
                asked += 1
                free -= 1
                heapq.heappush(events, (self._now + 1 / EPOCHS, asked, tune_id, from_config(config), 1))
            if not events:
                break
            at, order, tune_id, assignment, epoch = heapq.heappop(events)
            self._now = max(self._now, at)
            self._figures.trained += 1 / EPOCHS
            result = to_result(self._worker.answer(assignment, epoch))
            trial = _TuneTrial(tune_id)
            stopped = self._time(stopper.stop_all)
            done = result["done"]
            if not done:
                decision = self._time(lambda: scheduler.on_trial_result(None, trial, result))
                done = decision == TrialScheduler.STOP
            if done:
                self._time(lambda: searcher.on_trial_complete(tune_id, result))
                free += 1
                finished += 1
                self._pause(finished)
            else:
                heapq.heappush(events, (self._now + 1 / EPOCHS, order, tune_id, assignment, epoch + 1))
            if stopped:
                break
        self._figures.ended = self._now

    def _time(self, call: Callable[[], Any], into: list[float] | None = None) -> Any:
        """Call the service; the simulated time goes on by as long as that took."""
        since, cpu = time.perf_counter(), time.thread_time()
        found = call()
        took, took_cpu = time.perf_counter() - since, time.thread_time() - cpu
        self._now += took
        self._figures.busy += took
        self._figures.busy_cpu += took_cpu
        if into is not None:
            into.append(took_cpu)
        return found

    def _pause(self, finished: int) -> None:
        if finished % _EVERY == 0:
            since = time.perf_counter()
            _wait_for_outboxes()
            self._figures.waited += time.perf_counter() - since
            self._figures.marks[finished] = self._figures.busy_cpu
        if finished in self._marks:
            gc.collect()
            self._figures.memory[finished] = read_memory()
        if finished % 500 == 0:
            f = self._figures
            print(f"  {finished} trials: driver {1000*f.busy/finished:.1f} ms wall {1000*f.busy_cpu/finished:.1f} ms cpu a trial, waited {f.waited:.0f}, ask {1000*median(f.asks[-500:]):.1f}, {read_memory():.0f} MiB", file=sys.stderr, flush=True)


_outboxes: list[Outbox] = []


def _wait_for_outboxes() -> None:
    for box in _outboxes:
        while not box._queue.empty() or box._changed or box._epochs:
            time.sleep(0.005)


def read_memory() -> float:
    """The resident memory of this process, MiB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--trials", type=int, default=10_000)
    parser.add_argument("--slots", type=int, default=8)
    parser.add_argument("--sampler", default="tpe")
    parser.add_argument("--profile", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(1)
    marks = tuple(n for n in (100, 1000, 5000, 10000) if n <= args.trials)
    logging.getLogger("mlflow").setLevel(logging.ERROR)
    with tempfile.TemporaryDirectory(dir="/tmp/b2") as name:
        home = Home(Path(name))
        spec = parse_spec(build_spec(args.trials, args.slots, args.sampler), "the spec", Path(name))
        rows = open_rows(spec.data)
        folder = create_sweep(spec, home, [])
        run = open_run(spec, spec.example_point(), rows.divide(), baseline=True, device="cpu")
        buffer = io.BytesIO()
        torch.save(run.model.state_dict(), buffer)
        figures = Figures()
        sim = Simulation(PretendingWorker(folder, buffer.getvalue()), args.slots, figures, marks)

        class NoCluster(Cluster):
            @contextmanager
            def connect(self, log: Path) -> Iterator[None]:
                yield

        init = Outbox.__init__

        def remember(self: Outbox, *a: Any, **k: Any) -> None:
            k.setdefault("period", 0.05)
            init(self, *a, **k)
            _outboxes.append(self)

        import cProfile, pstats
        prof = cProfile.Profile() if args.profile else None
        view = LineView(open_console(io.StringIO()))
        with patch("service.cluster.tune_run.run_trials", sim.run), patch.object(Outbox, "__init__", remember):
            if prof: prof.enable()
            since = time.perf_counter()
            try:
                ending = run_sweep(spec, rows, folder, home, [view], cluster=NoCluster(), concurrent=args.slots)
            finally:
                if prof:
                    prof.disable()
                    pstats.Stats(prof).sort_stats("tottime").print_stats(45)
                    pstats.Stats(prof).sort_stats("cumtime").print_stats(60)
        n = args.trials
        print("state", ending.summary.state, ending.summary.trials, ending.unlogged)
        ideal = figures.trained / args.slots
        print(f"ratio {figures.ended/ideal:.3f}; driver {1000*figures.busy/n:.2f} ms wall, {1000*figures.busy_cpu/n:.2f} ms cpu a trial; whole {time.perf_counter()-since:.0f}")
        print(figures.memory)
        for k in range(0, len(figures.asks), 1000):
            part = figures.asks[k:k+1000]
            if len(part) > 10: print(k, f"ask median {1000*median(part):.2f} p99 {1000*quantiles(part, n=100)[-1]:.2f}")
        u = resource.getrusage(resource.RUSAGE_SELF)
        print("cpu", u.ru_utime + u.ru_stime, "max rss", u.ru_maxrss / 1024)
        lines = sum(1 for _ in folder.journal.open())
        print("journal lines a trial", lines / n, "bytes", folder.journal.stat().st_size / n)


if __name__ == "__main__":
    main()
