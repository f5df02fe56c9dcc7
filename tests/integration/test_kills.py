"""A real sweep that is killed and resumed several times, beside an undisturbed one.

`python -m tests.faults.kills` does the same with more kills, sweeps, samplers and with Ray.
"""

from __future__ import annotations

import random
from pathlib import Path

from tests.faults.kills import attack, build_spec


def test_kills_change_neither_trials_nor_answer_and_leave_no_run_open(tmp_path: Path) -> None:
    spec = build_spec(
        1,
        budget={"trials": 6},
        confirm={"top_k": 1, "replicates": 5, "trainings": 10},
    )
    outcome = attack(spec, 2, random.Random(1), tmp_path, entries=100)
    assert outcome.differences == []
    assert outcome.sessions == 3
