"""Whole sweeps with known truth: how often is the answer wrong, is the planted part named?

    python -m tests.benchmarks.whole_sweeps [--sweeps 100] [--only SCENARIO …] [--processes 2]

Search, replicates, decisions and trainings are the real ones, in one process and small. The truth
of a sweep is the mean difference of pick and control on 5,000 new samples, over the same
replicates; where nothing in the space can act it is 0.
"""

from __future__ import annotations

import argparse
import os
import sys
from concurrent.futures import ProcessPoolExecutor

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from scipy.stats import beta

from service.sweep.answer import Claim
from tests.real_sweeps import SCENARIOS, Outcome, run_one


def bound(wrong: int, total: int) -> float:
    """The one-sided 95 % upper bound of a rate (Clopper & Pearson 1934)."""
    return 1.0 if wrong == total else float(beta.ppf(0.95, wrong + 1, total - wrong))


def describe(name: str, outcomes: list[Outcome]) -> str:
    """A row of the table."""
    scenario, total = SCENARIOS[name], len(outcomes)
    helps = [o for o in outcomes if o.claim == Claim.HELPS]
    wrong = sum(o.truth >= 0 for o in helps)
    covered = [o.covered for o in outcomes if o.covered is not None]
    named = ""
    if scenario.planted:
        hits = sum(
            bool(scenario.planted & (o.acting | o.suffices))
            if scenario.either
            else scenario.planted <= o.acting
            for o in outcomes
        )
        named = f"{100 * hits / total:.0f} %"
    cells = [
        name,
        str(total),
        str(len(helps)),
        str(wrong),
        f"{100 * bound(wrong, total):.1f} %",
        f"{100 * np.mean(covered):.0f} %" if covered else "",
        named,
        f"{np.mean([o.replicates for o in outcomes]):.1f}",
    ]
    return "| " + " | ".join(cells) + " |"


HEADER = (
    "| scenario | sweeps | *helps* | wrong | bound (95 %) | interval covers | planted part named "
    "| replicates |\n|---|---|---|---|---|---|---|---|"
)


def main(arguments: list[str]) -> None:
    """Run the scenarios and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sweeps", type=int, default=100)
    parser.add_argument("--only", nargs="*", default=list(SCENARIOS), choices=list(SCENARIOS))
    parser.add_argument("--processes", type=int, default=2)
    options = parser.parse_args(arguments)
    print(HEADER, flush=True)
    with ProcessPoolExecutor(options.processes) as pool:
        for name in options.only:
            jobs = [(name, seed) for seed in range(options.sweeps)]
            print(describe(name, list(pool.map(run_one, jobs))), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
