"""Every use of undocumented behaviour of Optuna.

Each function names what it relies on; ``tests/unit/test_compat.py`` fails when Optuna changes it.
"""

from __future__ import annotations

from pathlib import Path

import optuna
from optuna.trial import FrozenTrial

CHECKED_WITH = "5.0.0"
"""The version of Optuna with which this module was last checked."""

CREATE_STUDY, CREATE_TRIAL = 0, 4
"""The journal ``op_code`` of the two operations that assign ids.

``optuna.storages.journal._storage.JournalOperation`` in Optuna 5.0; every existing journal
contains these numbers, so their meaning cannot change.
"""


def reopen_trial(study: optuna.Study, frozen: FrozenTrial) -> optuna.Trial:
    """Open a RUNNING trial of the study, to continue it.

    Optuna 5.0 has no public function for this: ``study.ask`` creates a new trial.
    ``optuna.Trial`` takes the study and ``FrozenTrial._trial_id``, as ``study.ask`` itself does.
    """
    return optuna.Trial(study, frozen._trial_id)


def remove_stale_lock(journal: Path) -> None:
    """Remove the lock that a killed writer left beside its journal.

    ``JournalFileSymlinkLock`` of Optuna 5.0 locks by a link with the suffix ``.lock`` and would
    wait until it is removed. The caller must be the only writer.
    """
    journal.with_name(journal.name + ".lock").unlink(missing_ok=True)
