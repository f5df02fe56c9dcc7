"""The answer of a sweep as data: what `summary.json`, the API and MLflow carry."""

from __future__ import annotations

from enum import StrEnum
from typing import Literal

from pydantic import Field

from search_spaces.models import Frozen
from service.base.json_numbers import Number

Bounds = tuple[Number, Number]
Division = Literal["new_splits", "one_split", "new_seeds"]
"""What replicates differ by, beside their seeds; ``new_seeds``: nothing that is known."""
LimitName = Literal["test_rows", "replicates", "trainings"]


class Claim(StrEnum):
    """What a sweep shows of its pick, compared with the control."""

    HELPS = "helps"  # better on test samples that chose nothing
    NOT_SHOWN = "not_shown"  # no effect that matters; larger ones are excluded
    UNDECIDED = "undecided"  # neither: the answer says what would decide it
    UNCONFIRMED = "unconfirmed"  # one training each, not tested


class PartState(StrEnum):
    """What a part of the pick contributes, shown by its removal."""

    ACTS = "acts"  # without it the pick is worse
    IDLE = "idle"  # its effect is smaller than the smallest that matters
    UNCLEAR = "unclear"  # neither is shown
    NEVER_ACTED = "did_not_act"  # in no training of the pick, so that it was not removed

    @property
    def words(self) -> str:
        """As reports show it."""
        return self.value.replace("_", " ")


class Measured(Frozen):
    """A difference of the objective in its unit, with its interval; negative is lower."""

    effect: Number
    interval: Bounds


class Part(Frozen):
    """One part of the pick: the pick minus the pick without the part.

    ``suffices`` says that the part alone is shown to help where no single removal matters.
    """

    name: str
    state: PartState
    effect: Number | None = None
    interval: Bounds | None = None
    suffices: bool = False


class Mean(Frozen):
    """A mean over replicates; ``half`` is half the width of its 95 % interval, if there is one."""

    mean: Number
    half: Number | None = None


class Arm(Frozen):
    """A configuration over its replicates, ``failed`` of which did not complete."""

    name: str
    trial: int
    without: tuple[str, ...] = ()
    replicates: int
    failed: int
    metrics: dict[str, Mean]


class Audited(Frozen):
    """A pruned trial that, trained to its end as ``trial``, is better than the search's best."""

    pruned: int
    trial: int
    value: Number


class AuditGroup(Frozen):
    """Pruned trials, and those of them that were trained to their end.

    ``better`` ones beat the search's best; a training that ``failed`` does not. ``share`` estimates
    how many of all pruned trials would have, ``interval`` is at 95 %, or at a little more where
    groups were put together. ``regret`` is by how much the best of those that were trained is
    better than the search's best, 0 if none is: that of all pruned ones is at least as large.
    """

    pruned: int
    audited: int
    failed: int = 0
    better: int = 0
    share: Number | None = None
    interval: Bounds | None = None
    regret: Number | None = None


class Audit(Frozen):
    """What pruning cost a search: an audit of its pruner, in the objective ``metric``.

    ``best`` is the search's best trial without the audited ones; ``strong`` are those in the more
    strongly regularised half of the search's trials.
    """

    metric: str
    best: int
    overall: AuditGroup
    strong: AuditGroup
    weak: AuditGroup
    better: tuple[Audited, ...] = ()


class Answer(Frozen):
    """What a sweep found. Effects are differences from the control, in the objective's unit.

    ``interval`` is at ``level``, the one at which the claim was tested: that of its look. ``p`` is
    one-sided; a pick helps if it is below (1 − ``level``) / 2. ``excluded_above`` is the size above
    which a useful effect is excluded. ``replicates_needed`` could decide an open question; it is
    None where the test samples are the limit, ``limit`` then being ``test_rows``.
    """

    claim: Claim
    metric: str
    mode: Literal["min", "max"]
    pick: int | None = None
    without: tuple[str, ...] = ()
    control: int | None = None
    effect: Number | None = None
    interval: Bounds | None = None
    level: Number | None = None
    p: Number | None = None
    replicates: int = 0
    test_rows: int = 0
    on: Division = "new_splits"
    feasible: bool = True
    min_effect: Number | None = None
    excluded_above: Number | None = None
    early_stopping: Measured | None = None
    parts: tuple[Part, ...] = ()
    parts_replicates: int = 0
    replicates_needed: int | None = None
    limit: LimitName | None = None
    sensitivity: Measured | None = None
    arms: tuple[Arm, ...] = ()
    target_scale: Number | None = Field(
        None, description="of a regression: the target's units per unit that the model predicts"
    )
    compared: int = Field(0, description="completed trials of the search that the pick is best of")
    audit: Audit | None = Field(None, description="of the pruner, if the spec asks for one")
    reason: str = Field("", description="why the answer is unconfirmed")

    def find_arm(self, name: str) -> Arm | None:
        """The arm of this name, if it was trained."""
        return next((a for a in self.arms if a.name == name), None)
