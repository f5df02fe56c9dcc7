"""10,000 trials of one second on simulated slots: what the service itself takes, by thousands.

    python -m tests.benchmarks.ten_thousand

Everything of a sweep is real but Ray and the training: its session, study and history, Tune's
adapters, the progress display, MLflow, the report. A worker that pretends answers at once with what
an epoch returns, and writes a network's weights as a checkpoint. Time is that of a discrete
simulation: an epoch takes its share of a second on its slot, and what the driver does in between
takes as long as it took here, one call after the other, since the driver is one thread. The ideal
is slots that never wait: trained seconds divided by the slots.

The ratio is given twice: with the wall time of the driver's calls, in which they share the machine
and Python's interpreter with all else, and with their processor time, which a busy machine changes
less. MLflow is written by a thread of its own. The simulation stops every 100 trials until that has
caught up, and its processor time a trial is shown beside the simulated time that it would have had.
"""

from __future__ import annotations

import argparse
import gc
import heapq
import io
import logging
import math
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median, quantiles
from types import SimpleNamespace
from typing import Any, TypeVar
from unittest.mock import patch

import mlflow
import numpy as np
import torch
from ray.tune.schedulers import TrialScheduler

from service.cluster.bridges import SlotBridge
from service.cluster.connection import Cluster
from service.cluster.divisions import TrialContext
from service.cluster.tune_adapters import StudyScheduler, StudySearcher, SweepStopper
from service.cluster.tune_messages import from_slot_config, to_slot_result
from service.report.console import open_console
from service.report.progress import LineView
from service.report.write import write_report
from service.run.create_sweep import create_sweep
from service.run.session_plan import SessionOptions
from service.run.sweep_session import run_sweep
from service.spec.file import parse_spec
from service.spec.model import SweepSpec
from service.study.messages import Assignment, EpochReport, SlotOrders
from service.study.slot_flow import SlotFlow, Widths
from service.study.trial_flow import TrialFlow
from service.sweep.home import Home, SweepFolder
from service.sweep.load import read_sweep
from service.tracking.outbox import Outbox
from trainables.data.datasets import open_rows
from trainables.data.rows import Rows
from trainables.loops.opening import open_run

EPOCHS = 5
"""Epochs of a trial of one second."""
AIM_RATIO, AIM_ASK, AIM_REPORT = 1.05, 0.020, 30.0
_CATCH_UP = 100
"""Trials between two waits for MLflow."""
_PERIOD = 0.05
_DEVICE = {"device": "cpu", "precision": "fp32"}
_PENALTIES = ["l1", "l2", "elastic_net"]
_KINDS = ["shift", "affine", "noise"]

T = TypeVar("T")


def build_spec(trials: int, slots: int, sampler: str) -> dict[str, Any]:
    """The demo's space, with ranges of λ that need no measurement."""
    pruner = {"name": "successive_halving", "min_epochs": EPOCHS - 1, "reduction_factor": 3}
    lam = {"float": [1e-6, 1e-1], "log": True, "when": {"penalty": _PENALTIES}}
    return {
        "name": "ten-thousand",
        "trainable": "trainables.models:MLP",
        "data": {"name": "digits", "val": 0.2, "test": 0.2, "seed": 0},
        "model": {"hidden": [16]},
        "training": {"max_epochs": EPOCHS, "batch_size": 64, "lr": 1e-3, "seed": 0},
        "space": {
            "penalty": {"choice": ["none", *_PENALTIES]},
            "lambda": lam,
            "l1_ratio": {"float": [0.05, 0.95], "when": {"penalty": "elastic_net"}},
            "dropout": {"float": [0.0, 0.7]},
            "augmentation": {"choice": ["none", *_KINDS]},
            "augmentation_strength": {"float": [0.1, 1.0], "when": {"augmentation": _KINDS}},
        },
        "early_stopping": {"metric": "val/loss"},
        "search": {"sampler": sampler, "pruner": pruner},
        "budget": {"trials": trials},
        "confirm": "off",
        "resources": {"concurrent": slots},
    }


class PretendingWorker:
    """Answers with the epochs of trainings whose loss follows from their parameters."""

    def __init__(self, folder: SweepFolder, weights: bytes) -> None:
        self._folder, self._weights = folder, weights

    def answer(self, trial: Assignment, epoch: int) -> EpochReport:
        """One epoch's report; its checkpoint, and in the end the weights, are on disk."""
        metrics = _measure(trial, epoch)
        file = self._folder.checkpoint(trial.number)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(self._weights)
        if epoch < EPOCHS:
            return EpochReport(epoch=epoch, metrics=metrics, ran_on=_DEVICE)
        self._folder.best_weights(trial.number).write_bytes(self._weights)
        best = {**metrics, "epoch": float(epoch)}
        control = best if trial.baseline else {}
        return EpochReport(epoch=epoch, metrics=metrics, best=best, control=control, ran_on=_DEVICE)


def _measure(trial: Assignment, epoch: int) -> dict[str, float]:
    noise = np.random.default_rng([trial.number, epoch]).normal(0, 0.01, 2)
    dropout, lam = trial.params.get("dropout"), trial.params.get("lambda")
    assert isinstance(dropout, float)
    distance = math.log10(lam) + 3 if isinstance(lam, float) and lam > 0 else 3
    loss = 0.1 + (dropout - 0.3) ** 2 + 0.01 * distance**2 + 0.5 / epoch
    train, val = loss - 0.05 + float(noise[0]), loss + float(noise[1])
    return {
        "train/loss": train,
        "val/loss": val,
        "gap/loss": val - train,
        "train/accuracy": 1 - train / 3,
        "val/accuracy": 1 - val / 3,
        "gap/accuracy": (val - train) / 3,
        "lr": 1e-3,
        "sparsity": 0.0,
    }


@dataclass
class Measured:
    """Seconds of the driver's calls, wall and processor time, and what was seen on the way.

    ``asks`` are processor seconds of each; ``memory`` in MiB by the number of finished trials.
    """

    trained: float = 0.0
    wall: float = 0.0
    cpu: float = 0.0
    asks: list[float] = field(default_factory=list)
    memory: dict[int, float] = field(default_factory=dict)
    ends: dict[str, float] = field(default_factory=dict)

    def time(self, call: Callable[[], T]) -> tuple[T, float, float]:
        """Call the service; its result with wall and processor seconds."""
        since, cpu = time.perf_counter(), time.thread_time()
        found = call()
        took = time.perf_counter() - since, time.thread_time() - cpu
        self.wall += took[0]
        self.cpu += took[1]
        return found, *took


class Clocks:
    """The simulated time twice: as the driver's calls took wall time, and processor time."""

    def __init__(self) -> None:
        self.now = {"wall": 0.0, "cpu": 0.0}

    def spend(self, wall: float, cpu: float) -> None:
        """The driver was busy for so long."""
        self.now = {"wall": self.now["wall"] + wall, "cpu": self.now["cpu"] + cpu}

    def wait_for(self, ends: dict[str, float]) -> None:
        """Nothing happens until an epoch has ended."""
        self.now = {name: max(now, ends[name]) for name, now in self.now.items()}

    def end_of_epoch(self) -> dict[str, float]:
        """When an epoch ends that begins now."""
        return {name: now + 1 / EPOCHS for name, now in self.now.items()}


class _Slot:
    """A slot as Tune has it: a trial whose actor takes orders."""

    def __init__(self, name: str) -> None:
        self.name, self.orders = name, SlotOrders()
        actor = SimpleNamespace(obey=SimpleNamespace(remote=self._keep))
        self.as_tunes = SimpleNamespace(
            trial_id=name, temporary_state=SimpleNamespace(ray_actor=actor)
        )

    def _keep(self, orders: SlotOrders) -> None:
        self.orders = orders


@dataclass(order=True)
class _Epoch:
    """The end of an epoch on a slot; the order of events is that of processor time."""

    at: float
    order: int
    ends: dict[str, float] = field(compare=False)
    slot: _Slot = field(compare=False)
    trial: Assignment = field(compare=False)
    epoch: int = field(compare=False)


class Simulation:
    """Slots whose trainings take simulated time, driven through Tune's adapters as Tune does."""

    def __init__(
        self, worker: PretendingWorker, slots: int, measured: Measured, outboxes: list[Outbox]
    ) -> None:
        self._worker, self._slots, self._measured = worker, slots, measured
        self._outboxes, self._clocks = outboxes, Clocks()
        self._events: list[_Epoch] = []
        self._pushed = self._finished = 0

    def run(self, flow: TrialFlow, context: TrialContext, concurrent: int, widths: Widths) -> None:
        """Take the place of :func:`service.cluster.tune_run.run_trials`."""
        bridge = SlotBridge(SlotFlow(flow, widths))
        searcher, scheduler = StudySearcher(bridge), StudyScheduler(bridge)
        stopper, session = SweepStopper(bridge), flow.session
        with patch.object(session, "ask", self._watch(session.ask)):
            while not self._call(stopper.stop_all):
                self._fill(searcher)
                if not self._events:
                    break
                self._end_epoch(heapq.heappop(self._events), searcher, scheduler)
        self._measured.ends = self._clocks.now

    def _watch(self, ask: Callable[[], Assignment | None]) -> Callable[[], Assignment | None]:
        """The session's ``ask``, which notes the processor time of each trial."""

        def watched() -> Assignment | None:
            since = time.thread_time()
            found = ask()
            if found is not None:
                self._measured.asks.append(time.thread_time() - since)
            return found

        return watched

    def _fill(self, searcher: StudySearcher) -> None:
        while len(self._events) < self._slots:
            name = f"{self._pushed}"
            config = self._call(lambda name=name: searcher.suggest(name))  # type: ignore[misc]  # bound now
            if not isinstance(config, dict):
                return
            (trial,) = from_slot_config(config)
            self._push(_Slot(name), trial, 1)

    def _push(self, slot: _Slot, trial: Assignment, epoch: int) -> None:
        ends = self._clocks.end_of_epoch()
        heapq.heappush(self._events, _Epoch(ends["cpu"], self._pushed, ends, slot, trial, epoch))
        self._pushed += 1

    def _end_epoch(self, event: _Epoch, searcher: StudySearcher, scheduler: StudyScheduler) -> None:
        self._clocks.wait_for(event.ends)
        self._measured.trained += 1 / EPOCHS
        slot = event.slot
        slot.orders = SlotOrders()
        answers = {event.trial.number: self._worker.answer(event.trial, event.epoch)}
        result, tune = to_slot_result([answers]), slot.as_tunes
        decision = self._call(lambda: scheduler.on_trial_result(None, tune, result))
        if decision == TrialScheduler.STOP:
            self._call(lambda: searcher.on_trial_complete(slot.name, result))
        elif slot.orders.take:
            self._push(slot, slot.orders.take[0], 1)
        else:
            self._push(slot, event.trial, event.epoch + 1)
            return
        self._finished += 1
        self._look()

    def _call(self, call: Callable[[], T]) -> T:
        found, wall, cpu = self._measured.time(call)
        self._clocks.spend(wall, cpu)
        return found

    def _look(self) -> None:
        if self._finished % _CATCH_UP == 0:
            for box in self._outboxes:
                _catch_up(box)
        if self._finished in (1000, 2000, 5000, 10_000):
            gc.collect()
            self._measured.memory[self._finished] = read_memory()
        if self._finished % 1000 == 0:
            print(f"{self._finished} trials", file=sys.stderr, flush=True)


def _catch_up(box: Outbox) -> None:
    while not box._queue.empty() or box._changed or box._epochs:
        time.sleep(_PERIOD / 5)


def read_memory() -> float:
    """The resident memory of this process, MiB."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * resource.getpagesize() / 2**20


class NoCluster(Cluster):
    """Nothing is started."""

    @contextmanager
    def connect(self, log: Path) -> Iterator[None]:
        """Nothing to connect to."""
        yield


@contextmanager
def watch_outboxes(found: list[Outbox]) -> Iterator[None]:
    """Add every outbox that is made in the block, which is to flush often."""
    make = Outbox.__init__

    def begin(box: Outbox, *words: Any, **options: Any) -> None:
        make(box, *words, **{"period": _PERIOD, **options})
        found.append(box)

    with patch.object(Outbox, "__init__", begin):
        yield


def run(spec: SweepSpec, rows: Rows, home: Home, slots: int, measured: Measured) -> SweepFolder:
    """The whole sweep; returns its folder."""
    folder, outboxes = create_sweep(spec, home, []), list[Outbox]()
    network = open_run(spec, spec.example_point(), rows.divide(), baseline=True, device="cpu")
    weights = io.BytesIO()
    torch.save(network.model.state_dict(), weights)
    worker = PretendingWorker(folder, weights.getvalue())
    simulation = Simulation(worker, slots, measured, outboxes)
    view = LineView(open_console(io.StringIO()))
    with watch_outboxes(outboxes), patch("service.cluster.tune_run.run_trials", simulation.run):
        options = SessionOptions(concurrent=slots)
        ending = run_sweep(spec, rows, folder, home, [view], cluster=NoCluster(), options=options)
    print(f"{ending.summary.trials.total} trials, MLflow {ending.unlogged or 'complete'}")
    return folder


def show(measured: Measured, slots: int, others: float) -> None:
    """Print the figures; ``others`` are processor seconds beside the driver's own calls."""
    trials, ideal = len(measured.asks), measured.trained / slots
    for name, took in (("wall", measured.wall), ("cpu", measured.cpu)):
        ratio = measured.ends[name] / ideal
        print(f"{name}: {ratio:.3f} × of ideal (aim {AIM_RATIO}), {took / trials:.4f} s a trial")
    print(
        f"MLflow's thread and the rest: {others / trials:.4f} CPU s a trial; "
        f"a trial has {ideal / trials:.4f} s on {slots} slots"
    )
    for start in range(0, trials, 1000):
        part = [1000 * seconds for seconds in measured.asks[start : start + 1000]]
        if len(part) > 1:
            print(
                f"ask from trial {start}: {median(part):.1f} ms, 99 % within "
                f"{quantiles(part, n=100)[-1]:.1f} ms of CPU (aim {1000 * AIM_ASK:.0f})"
            )
    print(", ".join(f"{n} trials {size:.0f} MiB" for n, size in measured.memory.items()))


def show_results(folder: SweepFolder, home: Home) -> None:
    """Print what the report takes, and MLflow's parent."""
    since, cpu = time.perf_counter(), time.process_time()
    _, study, sweep = read_sweep(folder)
    write_report(sweep, study, folder)
    print(
        f"read and report: {time.perf_counter() - since:.1f} s, "
        f"{time.process_time() - cpu:.1f} CPU s (aim {AIM_REPORT:.0f}); page "
        f"{folder.report.stat().st_size / 2**20:.1f} MiB, "
        f"summary {folder.summary.stat().st_size / 2**10:.0f} KiB, "
        f"journal {folder.journal.stat().st_size / 2**20:.0f} MiB"
    )
    client = mlflow.MlflowClient(home.mlflow_uri)
    experiments = [e.experiment_id for e in client.search_experiments()]
    since = time.perf_counter()
    (found,) = client.search_runs(experiments, f"run_name = '{folder.sweep_id}'")
    opened = time.perf_counter() - since
    since = time.perf_counter()
    asked = f"tags.`mlflow.parentRunId` = '{found.info.run_id}'"
    order = ["metrics.`best/val/loss`"]
    page = client.search_runs(experiments, asked, max_results=100, order_by=order)
    listed = time.perf_counter() - since
    data = found.data
    print(
        f"MLflow's parent: {len(data.params)} parameters, {len(data.metrics)} metrics, "
        f"{len(data.tags)} tags, {len(client.list_artifacts(found.info.run_id))} artifacts; "
        f"found in {opened:.2f} s, its {len(page)} best children in {listed:.2f} s"
    )


def main() -> None:
    """Run and print; the files are in a folder that is gone afterwards."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--trials", type=int, default=10_000)
    parser.add_argument("--slots", type=int, default=8)
    parser.add_argument("--sampler", default="tpe")
    parser.add_argument("--folder", help="where its files are for the time (default: the system's)")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    logging.getLogger("mlflow").setLevel(logging.ERROR)
    measured = Measured()
    with tempfile.TemporaryDirectory(dir=asked.folder) as name:
        home = Home(Path(name))
        raw = build_spec(asked.trials, asked.slots, asked.sampler)
        spec = parse_spec(raw, "the spec", home.path)
        assert spec.data is not None
        cpu = time.process_time()
        folder = run(spec, open_rows(spec.data), home, asked.slots, measured)
        show(measured, asked.slots, time.process_time() - cpu - measured.cpu)
        show_results(folder, home)


if __name__ == "__main__":
    main()
