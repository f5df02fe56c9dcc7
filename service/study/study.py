"""Opens and reads a sweep's study, with the sampler and pruner of its spec."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

import optuna
from optuna.storages import BaseStorage, InMemoryStorage

from search_spaces.space import SearchSpace
from service.base.files import drop_torn_line
from service.spec.model import SweepSpec
from service.study.attributes import StudyAttributes, count_repeats
from service.study.decision import Decision, decide_as_stored
from service.study.importance import Importances, importances
from service.study.journal_file import JournalFile
from service.study.journals import Opener, read_journal
from service.study.past_study import decide_again, draw_again
from service.study.ranking import Mode
from service.study.records import Epoch, Params, Trial
from service.study.sampled_space import read_space, store_space
from service.study.seeded_sampler import ResumableSampler
from service.study.storage import StudyStorage
from service.study.tabular import TabularSampler
from service.study.trial_reader import read_trials


class SweepStudy:
    """A sweep's study for callers that do not use Optuna: records, attributes, importances.

    ``optuna`` is the Optuna study; only this package uses it. One process writes to a study.
    Without a ``journal``, a study ends with its process. ``space`` is that of the sweep's spec.
    """

    def __init__(
        self,
        study: optuna.Study,
        journal: JournalFile | None = None,
        space: SearchSpace | None = None,
    ) -> None:
        self.optuna = study
        self._journal = journal
        self._own_space = space

    @property
    def mode(self) -> Mode:
        """Whether a low or a high objective is good."""
        maximised = self.optuna.direction is optuna.study.StudyDirection.MAXIMIZE
        return "max" if maximised else "min"

    @property
    def space(self) -> SearchSpace:
        """The space that the study samples: the one that it stores, or else its spec's."""
        found = read_space(self.optuna) or self._own_space
        assert found is not None, "neither the study nor a spec has a space"
        return found

    @property
    def attributes(self) -> StudyAttributes:
        """The current attributes of the study."""
        return StudyAttributes.of(self.optuna)

    def store(self, attributes: StudyAttributes) -> None:
        """Write the attributes that have changed."""
        attributes.store(self.optuna)

    def store_space(self, space: SearchSpace) -> None:
        """Sample another space from now on."""
        store_space(self.optuna, space)

    def trials(self, epochs: Mapping[int, Sequence[Epoch]] | None = None) -> tuple[Trial, ...]:
        """Every started trial as a record, by number, with its ``epochs`` if given."""
        return read_trials(self.optuna, epochs)

    def count_repeats(self) -> int:
        """How many trials got another point than one that was trained already."""
        return sum(map(count_repeats, self.optuna.get_trials(deepcopy=False)))

    def draw_again(self, number: int, space: SearchSpace, fixed: Params) -> None:
        """Draw parameters of a trial that was interrupted while they were drawn."""
        if self._journal is not None:
            draw_again(self.optuna, self._journal.path, number, space, fixed)

    def decide_again(self, number: int) -> Decision:
        """What was to follow from the last epoch that an interrupted trial reported."""
        if self._journal is None or isinstance(self.optuna.pruner, optuna.pruners.NopPruner):
            return Decision.CONTINUE
        return decide_again(self.optuna, self._journal.path, number, decide_as_stored)

    def close(self) -> None:
        """Force what was written to the disk, and let go of the journal until it is next used.

        Raises:
            OSError: it cannot be forced.
        """
        if self._journal is not None:
            self._journal.close()

    def importances(self) -> Importances:
        """Compute the importance of each parameter."""
        return importances(self.optuna)


def open_study(spec: SweepSpec, path: Path) -> SweepStudy:
    """Create or reopen a sweep's study. The caller must hold the sweep's lock.

    The study has the name of the spec, not of the sweep: Hyperband assigns brackets by study name,
    and two runs with the same spec and seed must get the same brackets.
    """
    repair_journal(path)
    journal = JournalFile(path)
    study = _create(spec, StudyStorage(journal))
    study.sampler = ResumableSampler(spec.search.sampler, spec.search.seed)
    return SweepStudy(study, journal, spec.space)


def open_tabular_study(
    spec: SweepSpec, points: Sequence[Params]
) -> tuple[SweepStudy, Mapping[int, int]]:
    """A study in memory that samples these points only, see :class:`TabularSampler`.

    Also the place of each trial's point, which grows with the study. The space is the spec's, and
    has no automatic range.

    Raises:
        ContractError: a user-defined class cannot be imported or does not accept an option.
    """
    study = _create(spec, InMemoryStorage())
    inner = ResumableSampler(spec.search.sampler, spec.search.seed)
    study.sampler = sampler = TabularSampler(inner, spec.space, points)
    return SweepStudy(study, space=spec.space), sampler.taken


def _create(spec: SweepSpec, storage: BaseStorage) -> optuna.Study:
    _silence_optuna()
    return optuna.create_study(
        storage=storage,
        study_name=spec.name,
        direction="minimize" if spec.objective.mode == "min" else "maximize",
        pruner=spec.search.pruner.build(spec.training.max_epochs),
        load_if_exists=True,
    )


def repair_journal(path: Path) -> None:
    """Remove what a killed writer left. The caller must hold the sweep's lock."""
    drop_torn_line(path)


def read_study(spec: SweepSpec, opener: Opener) -> SweepStudy:
    """Open a sweep's study for reading; no lock is needed.

    Raises:
        FileNotFoundError: there is no journal.
        Exception: whatever Optuna raises for a damaged journal.
    """
    _silence_optuna()
    study = optuna.load_study(study_name=None, storage=read_journal(opener))  # the only one
    return SweepStudy(study, space=spec.space)


def _silence_optuna() -> None:
    """Turn off Optuna's log of every trial and its warnings about experimental features."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
