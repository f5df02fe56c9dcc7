"""Opens and reads a sweep's study, with the sampler and pruner of its spec."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import optuna
from optuna.samplers import BaseSampler

from service.base.files import drop_torn_line
from service.spec.model import SweepSpec
from service.study.attributes import StudyAttributes
from service.study.compat import remove_stale_lock
from service.study.importance import Importances, importances
from service.study.journals import Opener, open_journal, read_journal
from service.study.ranking import Mode
from service.study.records import Epoch, Trial
from service.study.trial_reader import read_trials


class SweepStudy:
    """A sweep's study for callers that do not use Optuna: records, attributes, importances.

    ``optuna`` is the Optuna study; only this package uses it. One process writes to a study.
    """

    def __init__(self, study: optuna.Study) -> None:
        self.optuna = study

    @property
    def mode(self) -> Mode:
        """Whether a low or a high objective is good."""
        maximised = self.optuna.direction is optuna.study.StudyDirection.MAXIMIZE
        return "max" if maximised else "min"

    @property
    def attributes(self) -> StudyAttributes:
        """The current attributes of the study."""
        return StudyAttributes.of(self.optuna)

    def store(self, attributes: StudyAttributes) -> None:
        """Write the attributes that have changed."""
        attributes.store(self.optuna)

    def trials(self, epochs: Mapping[int, Sequence[Epoch]] | None = None) -> tuple[Trial, ...]:
        """Every started trial as a record, by number, with its ``epochs`` if given."""
        return read_trials(self.optuna, epochs)

    def importances(self) -> Importances:
        """Compute the importance of each parameter."""
        return importances(self.optuna)


def open_study(spec: SweepSpec, path: Path) -> SweepStudy:
    """Create or reopen a sweep's study. The caller must hold the sweep's lock.

    The study has the name of the spec, not of the sweep: Hyperband assigns brackets by study name,
    and two runs with the same spec and seed must get the same brackets.
    """
    drop_torn_line(path)
    remove_stale_lock(path)
    _silence_optuna()
    study = optuna.create_study(
        storage=open_journal(path),
        study_name=spec.name,
        direction="minimize" if spec.objective.mode == "min" else "maximize",
        pruner=spec.search.pruner.build(spec.training.max_epochs),
        load_if_exists=True,
    )
    study.sampler = make_sampler(spec, len(study.get_trials(deepcopy=False)))
    return SweepStudy(study)


def read_study(spec: SweepSpec, opener: Opener) -> SweepStudy:
    """Open a sweep's study for reading; no lock is needed.

    Raises:
        FileNotFoundError: there is no journal.
        Exception: whatever Optuna raises for a damaged journal.
    """
    _silence_optuna()
    return SweepStudy(optuna.load_study(study_name=spec.name, storage=read_journal(opener)))


def _silence_optuna() -> None:
    """Turn off Optuna's log of every trial and its warnings about experimental features."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)


def make_sampler(spec: SweepSpec, known: int) -> BaseSampler:
    """Build the spec's sampler, seeded by the spec's seed and the number of ``known`` trials.

    A resumed sweep therefore does not repeat its first draws.
    """
    sequence = np.random.SeedSequence([spec.search.seed, known] if known else spec.search.seed)
    seed = int(sequence.generate_state(1)[0])
    return spec.search.sampler.build(seed)
