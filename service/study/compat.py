"""What is used of Optuna that its documentation does not promise, in one place.

Each function names what it relies on; ``tests/unit/test_compat.py`` fails when that has moved.
"""

from __future__ import annotations

from pathlib import Path

import optuna
from optuna.trial import FrozenTrial

CHECKED_WITH = "5.0.0"
"""The version of Optuna that all of this was last checked with."""

CREATE_STUDY, CREATE_TRIAL = 0, 4
"""A journal's ``op_code`` of the two operations that give out ids.

``optuna.storages.journal._storage.JournalOperation`` in Optuna 5.0; the numbers are in every
journal that was ever written, so that they cannot change their meaning.
"""


def reopen_trial(study: optuna.Study, frozen: FrozenTrial) -> optuna.Trial:
    """A trial that is RUNNING in the study, to go on with.

    Optuna 5.0 has no public way: ``study.ask`` makes a new one. ``optuna.Trial`` takes the study
    and ``FrozenTrial._trial_id``, as ``study.ask`` itself does.
    """
    return optuna.Trial(study, frozen._trial_id)


def remove_stale_lock(journal: Path) -> None:
    """Remove the lock that a killed writer has left beside its journal.

    ``JournalFileSymlinkLock`` of Optuna 5.0 locks by a link with the suffix ``.lock`` and would
    wait for it. The caller is the only writer.
    """
    journal.with_name(journal.name + ".lock").unlink(missing_ok=True)
