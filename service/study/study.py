"""From a spec's `search` to Optuna's own objects: the study, its sampler, its pruner."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import optuna
from optuna.samplers import BaseSampler
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from search_spaces.sampling import grid
from search_spaces.space import SearchSpace
from service.spec.model import SweepSpec
from service.study.records import Params
from service.sweep.history import drop_torn_line


def journal_storage(path: Path) -> JournalStorage:
    """The storage of one sweep's study."""
    return JournalStorage(JournalFileBackend(str(path)))


def open_study(spec: SweepSpec, path: Path) -> optuna.Study:
    """Create or go on with a sweep's study. The caller holds the sweep's lock.

    The study is named for the spec, not for the sweep: Hyperband assigns brackets by study name,
    and two runs of one spec and seed must be assigned alike.
    """
    drop_torn_line(path)
    path.with_name(path.name + ".lock").unlink(missing_ok=True)  # what a killed writer leaves
    _quieten()
    study = optuna.create_study(
        storage=journal_storage(path),
        study_name=spec.name,
        direction="minimize" if spec.objective.mode == "min" else "maximize",
        pruner=spec.search.pruner.build(spec.training.max_epochs),
        load_if_exists=True,
    )
    study.sampler = make_sampler(spec, len(study.get_trials(deepcopy=False)))
    return study


def read_study(spec: SweepSpec, path: Path) -> optuna.Study:
    """A sweep's study for reading, whoever holds its lock."""
    _quieten()
    return optuna.load_study(study_name=spec.name, storage=journal_storage(path))


def _quieten() -> None:
    """Optuna tells of every trial and warns of what it calls experimental: groups, constraints."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)


def make_sampler(spec: SweepSpec, known: int) -> BaseSampler:
    """The spec's sampler, seeded by the spec's seed and how many trials are ``known`` already.

    A resumed sweep thus draws anew instead of repeating its first draws.
    """
    sequence = np.random.SeedSequence([spec.search.seed, known] if known else spec.search.seed)
    seed = int(sequence.generate_state(1)[0])
    return spec.search.sampler.build(seed)


def grid_points(space: SearchSpace, per_range: int) -> Iterator[Params]:
    """Every combination of the grid's values once, inactive parameters left out.

    Optuna's GridSampler crosses conditional parameters as well, so that it would repeat a point
    for every value of a parameter that the point does not have, and it ends a study by
    ``Study.stop``, which is an error outside ``optimize``.
    """
    axes = grid(space, per_range)
    seen: set[tuple[tuple[str, object], ...]] = set()
    for values in itertools.product(*axes.values()):
        point = dict(zip(axes, values, strict=True))
        active = {name: point[name] for name in space.active(point)}
        key = tuple(active.items())
        if key not in seen:
            seen.add(key)
            yield active
