"""Gives a study wider ranges, as if it had had them from the beginning.

Optuna leaves a parameter whose range changed out of what a sampler models jointly, or goes on with
the first range, and refuses other choices. The journal is therefore written again, with the wider
distributions in place of the old ones, and replaces the old one in one step.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, distribution_to_json
from optuna.trial import TrialState

from search_spaces.sampling import build_distribution
from search_spaces.space import SearchSpace
from service.base.files import drop_torn_line, replace_file
from service.study.attributes import TrialAttributes
from service.study.compat import (
    CREATE_TRIAL,
    SET_PARAM,
    SET_TRIAL_SYSTEM_ATTR,
    has_bounds_of_sampler,
)
from service.study.journals import ReadOnlyJournal, open_journal, read_journal
from service.study.sampled_space import store_space

Entry = dict[str, Any]


def widen_study(name: str, journal: Path, space: SearchSpace) -> None:
    """Give the study ``name`` a space that contains its own. The caller holds the sweep's lock.

    A kill leaves the old journal or the new one, whole.
    """
    drop_torn_line(journal)
    study = optuna.load_study(study_name=name, storage=read_journal(lambda: journal.open("rb")))
    undrawn = frozenset(t.number for t in study.get_trials(deepcopy=False) if _is_undrawn(t))
    wider = {d.stored: build_distribution(d.plain) for d in space.dimensions}
    temporary = journal.with_name(f".{journal.name}.wider")
    with replace_file(journal, temporary):
        entries = ReadOnlyJournal(lambda: journal.open("rb")).read_logs(0)
        with temporary.open("w", encoding="utf-8") as file:
            file.writelines(
                json.dumps(entry, separators=(",", ":")) + "\n"
                for entry in _rewrite(entries, wider, undrawn)
            )
        shutil.copymode(journal, temporary)
        store_space(optuna.load_study(study_name=name, storage=open_journal(temporary)), space)


def _is_undrawn(trial: optuna.trial.FrozenTrial) -> bool:
    """Whether the trial was interrupted while its parameters were drawn: all are drawn again."""
    return trial.state is TrialState.RUNNING and TrialAttributes.of(trial).params is None


def _rewrite(
    entries: Iterator[Entry], wider: Mapping[str, BaseDistribution], undrawn: frozenset[int]
) -> Iterator[Entry]:
    """The entries with other distributions, without what samplers keep of the old ones."""
    for entry in entries:
        if entry["op_code"] == SET_PARAM:
            if entry["trial_id"] in undrawn:
                continue
            distribution = wider.get(entry["param_name"])
            if distribution is not None:
                entry = {**entry, "distribution": distribution_to_json(distribution)}
        elif entry["op_code"] == CREATE_TRIAL and entry.get("distributions"):
            known = entry["distributions"]
            found = {n: distribution_to_json(wider[n]) for n in known if n in wider}
            entry = {**entry, "distributions": {**known, **found}}
        elif entry["op_code"] == SET_TRIAL_SYSTEM_ATTR and has_bounds_of_sampler(entry):
            continue
        yield entry
