"""What replicates scored on every test sample, in files of their own."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from service.study.records import Trial
from service.sweep.home import SweepFolder


def read_test_rows(folder: SweepFolder, trial: Trial) -> Mapping[str, NDArray[np.float64]]:
    """Each metric of a replicate by sample, ``(rows,)``; empty if its file is missing."""
    path = folder.test_rows(trial.number)
    if not path.exists():
        return {}
    with np.load(path, allow_pickle=False) as file:
        return dict(file)
