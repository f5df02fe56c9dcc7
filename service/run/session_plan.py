"""What a session is opened with and trains: its options, the folds of the search, what follows."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from search_spaces.widening import Wider
from service.answer.audit import AfterSearch, Auditor
from service.answer.planner import Planner
from service.run.evidence import Evidence
from service.run.sweep_control import Orders, Reserve
from service.spec.model import SweepSpec
from service.study.confirmation import Confirmation
from service.study.fold_study import FoldPlan
from service.study.records import Role
from service.study.slot_flow import ALONE, Widths
from service.study.study import SweepStudy
from service.sweep.home import SweepFolder

if TYPE_CHECKING:
    from service.run.ranges import Ranges

RESERVED = 0.4
"""The share of a budget of time that is left for the confirmation."""


@dataclass(frozen=True)
class More:
    """Trials to add to a study's budget.

    ``extension`` is the minimum number of trials beyond the spec's budget, over all sessions.
    """

    trials: int = 0
    extension: int = 0

    def count(self, study: SweepStudy, budget: int) -> int:
        """The number of trials to add to the study's current budget."""
        now, planned = study.attributes.budget, study.attributes.planned
        extended = 0 if now is None else max(0, now - (planned or budget))
        return self.trials or max(0, self.extension - extended)


@dataclass(frozen=True, kw_only=True)
class SessionOptions:
    """What a session of a sweep is opened with.

    At most ``concurrent`` processes, each with up to ``widths`` trials, run at once, or fewer by
    ``orders``, which may change meanwhile. ``more`` are trials to add. ``accept_changes`` lets it
    go on with other data, code or libraries than before. ``not_neutral`` says what regularises the
    baseline all the same. ``ranges`` were measured for this session: a new study samples their
    space. With ``wider`` ranges, the study has these from now on.
    """

    more: More = More()
    concurrent: int = 1
    widths: Widths = ALONE
    orders: Orders | None = None
    accept_changes: bool = False
    not_neutral: tuple[str, ...] = ()
    ranges: Ranges | None = None
    wider: Wider = field(default_factory=dict)


def build_planner(
    spec: SweepSpec, evidence: Evidence, folder: SweepFolder, study: SweepStudy
) -> Planner | None:
    """The confirmation; None without one."""
    if spec.confirm is None:
        return None
    return Planner(spec, evidence.build_scores(spec, folder), study)


def plan_after_search(
    spec: SweepSpec, planner: Planner | None, study: SweepStudy
) -> Confirmation | None:
    """What is trained when the search is over."""
    return planner if spec.audit is None else AfterSearch(Auditor(spec, study), planner)


def plan_folds(spec: SweepSpec) -> FoldPlan | None:
    """The folds of the search; None where each trial is one training."""
    search = spec.search
    if search.folds is None:
        return None
    return FoldPlan(search.folds, spec.most_epochs, search.fold_pruner.build(search.folds))


def reserve(spec: SweepSpec) -> Reserve:
    """What a search leaves of the budgets of time for its audit and for the confirmation."""
    share, budget = RESERVED if spec.confirm else 0.0, spec.budget
    if spec.audit:
        audited = spec.audit.trials / (spec.budget.trials + spec.audit.trials)
        share += (1 - share) * audited
    return Reserve(share * 60 * (budget.minutes or 0), share * 3600 * (budget.gpu_hours or 0))


def grant_trainings(study: SweepStudy) -> None:
    """Let an extended sweep use its trainings for audits and replicates again."""
    trials = study.trials()
    used, audits = sum(t.replicate > 0 for t in trials), sum(t.role is Role.AUDIT for t in trials)
    study.store(
        replace(study.attributes, trainings_before_extension=used, audits_before_extension=audits)
    )
