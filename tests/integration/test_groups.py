"""Trials of several workers, on a real Ray of four logical CPUs."""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from tests.group_sweeps import GroupSweep, curves, run, run_beside, run_here, start
from tests.patience import wait_for
from tests.rays import Ray, ray_cluster

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("without_plots")]

PLAIN: dict[str, Any] = {
    "space": {
        "penalty": {"choice": ["none", "l1"]},
        "lambda": {"float": [1e-4, 1e-1], "log": True, "when": {"penalty": "l1"}},
        "dropout": {"choice": [0.0]},
    },
    "search": {
        "pruner": "none",
        "enqueue": [{"penalty": "l1", "lambda": 0.01, "dropout": 0.0}],
    },
    "budget": {"trials": 2},
}
"""The baseline and an L1 trial, without anything that is drawn."""


@pytest.fixture(scope="module")
def ray() -> Iterator[Ray]:
    with ray_cluster(4) as head:
        yield head


def test_groups_prune_and_complete_within_the_logical_cpus(tmp_path: Path, ray: Ray) -> None:
    pruner = {"name": "median", "startup_trials": 3, "warmup_epochs": 1}
    at_once: set[int] = set()

    def count(_: GroupSweep, ended: Event) -> None:
        def over() -> bool:
            at_once.add(len(ray.ranks()))
            return ended.is_set()

        wait_for(over, 240)

    sweep = run_beside(
        count,
        tmp_path,
        ray,
        search={"pruner": pruner, "sampler": "random"},
        budget={"trials": 12},
        resources={"workers": 2, "concurrent": 5},
        space={"lr": {"float": [1e-5, 1e-1], "log": True}, "dropout": {"float": [0.0, 0.7]}},
        model={"seconds": 0.01},
    )
    assert max(at_once) == 4  # two trials of two workers
    counts = sweep.summary()["trials"]
    assert counts["complete"] + counts["pruned"] == 12
    assert counts["pruned"] >= 2
    ended = re.findall(r"^trial +(\d+) (complete|pruned)", sweep.done.stdout, re.M)
    whole = {int(number): state == "complete" for number, state in ended}
    for number, curve in curves(sweep.epochs()).items():
        assert (len(curve) == 6) == whole[number]


def test_a_whole_sweep_has_the_curves_of_one_worker(tmp_path: Path, ray: Ray) -> None:
    """Of four; ``test_process_groups.py`` has groups of two and four without Ray."""
    reference = curves(run_here(tmp_path / "one", **PLAIN).epochs())
    resources = {"workers": 4, "concurrent": 1}
    found = curves(run(tmp_path, ray, **PLAIN, resources=resources).epochs())
    assert found.keys() == reference.keys() == {0, 1}
    for number, curve in reference.items():
        assert len(curve) == 6
        for ours, expected in zip(found[number], curve, strict=True):
            assert ours == pytest.approx(expected, abs=1e-5)


def test_killing_each_worker_in_the_middle_of_an_epoch_loses_nothing(
    tmp_path: Path, ray: Ray, undisturbed: dict[int, list[dict[str, float]]]
) -> None:
    killed: list[int] = []

    def kill_rank(rank: int, sweep: GroupSweep, after: int) -> None:
        wait_for(lambda: len(sweep.epochs()) >= after, 90)
        time.sleep(0.2)  # an epoch takes six steps of a tenth of a second
        killed.append(int((tmp_path / str(rank)).read_text()))
        os.kill(killed[-1], signal.SIGKILL)

    def kill(sweep: GroupSweep, _: Event) -> None:
        kill_rank(0, sweep, after=2)
        kill_rank(1, sweep, after=4)

    sweep = run_beside(kill, tmp_path, ray, model={"seconds": 0.1, "pids": str(tmp_path)})
    assert sweep.summary()["trials"] == {
        "complete": 1,
        "pruned": 0,
        "failed": 0,
        "running": 0,
        "paused": 0,
    }
    assert len(killed) == 2
    assert curves(sweep.epochs()) == undisturbed


def test_killing_a_trials_only_process_loses_nothing_either(tmp_path: Path, ray: Ray) -> None:
    whole = run_here(tmp_path / "whole")

    def kill(sweep: GroupSweep, _: Event) -> None:
        # a process whose title is just being written has none for a moment
        wait_for(lambda: len(sweep.epochs()) >= 2 and len(ray.tune_actors()) == 1, 90)
        (actor,) = ray.tune_actors()
        os.kill(actor, signal.SIGKILL)

    sweep = run_beside(kill, tmp_path, ray, model={"seconds": 0.3}, resources={"workers": 1})
    assert curves(sweep.epochs()) == curves(whole.epochs())


@pytest.fixture(scope="module")
def undisturbed(
    tmp_path_factory: pytest.TempPathFactory, ray: Ray
) -> dict[int, list[dict[str, float]]]:
    return curves(run(tmp_path_factory.mktemp("undisturbed"), ray).epochs())


def test_a_trial_that_fails_in_a_group_leaves_the_slot_to_the_next(
    tmp_path: Path, ray: Ray
) -> None:
    ways = ["all raise", "fine", "one raises", "one dies", "fine"]
    sweep = run(
        tmp_path,
        ray,
        space={
            "model.way": {"choice": sorted(set(ways), reverse=True)},
            "dropout": {"float": [0.0, 0.7]},
        },
        search={
            "baseline": False,
            "pruner": "none",
            "enqueue": [{"model.way": w, "dropout": 0.1 * i} for i, w in enumerate(ways)],
        },
        budget={"trials": 5},
        resources={"workers": 2, "concurrent": 1, "retries": 1},
    )
    assert sweep.summary()["trials"] == {
        "complete": 2,
        "pruned": 0,
        "failed": 3,
        "running": 0,
        "paused": 0,
    }
    lines = {
        int(n): rest for n, rest in re.findall(r"^trial +(\d+) (.*)$", sweep.done.stdout, re.M)
    }
    assert "had enough" in lines[0]
    assert "worker 1 had enough" in lines[2]
    assert "worker 1 of 2 died" in lines[3]
    assert "2 times" in lines[3]


def test_a_pruned_group_leaves_no_process_while_the_sweep_goes_on(tmp_path: Path, ray: Ray) -> None:
    """The baseline, which nothing prunes, takes its time; the other trial goes after an epoch."""
    sweep = start(
        tmp_path,
        ray,
        training={"max_epochs": 20, "batch_size": 64},
        model={"seconds": 0.1},
        search={"pruner": {"name": "threshold", "upper": 0.0}},
        budget={"trials": 2},
        resources={"workers": 2, "concurrent": 2},
    )
    wait_for(lambda: len(ray.ranks()) == 4, 90)
    sweep.read_until("pruned")
    wait_for(lambda: (len(ray.ranks()), len(ray.tune_actors())) == (2, 1), 5)
    assert sweep.process.poll() is None
    assert sweep.finish() == 0, sweep.text
    assert len(curves(sweep.epochs())[0]) == 20
