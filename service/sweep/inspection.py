"""What the networks of a sweep are like beside their scores: what `summary.json` carries of it."""

from __future__ import annotations

from pydantic import Field

from search_spaces.models import Frozen
from service.base.json_numbers import Number
from service.sweep.answer import Mean


class LevelScores(Frozen):
    """Scores at one level of a corruption, over the trainings that were measured there."""

    level: Number
    scores: dict[str, Mean]


class CorruptionCurve(Frozen):
    """Scores at growing levels of a corruption, in its ``unit``; level 0 is without it."""

    corruption: str
    unit: str
    levels: tuple[LevelScores, ...]


class ArmRobustness(Frozen):
    """The scores of one arm (``baseline``, ``control``, ``pick``) over ``trainings``."""

    arm: str
    trainings: int
    clean: dict[str, Mean]
    curves: tuple[CorruptionCurve, ...] = ()


class RobustnessSummary(Frozen):
    """Scores on ``rows`` test samples whose inputs are corrupted.

    They are ``loss``, the first metric, and of a classification ``ece``, the expected calibration
    error. ``reason`` says why something is missing.
    """

    rows: int = 0
    arms: tuple[ArmRobustness, ...] = ()
    reason: str = ""

    @property
    def has_curves(self) -> bool:
        """Whether scores on corrupted inputs are known."""
        return any(arm.curves for arm in self.arms)


STABLE_SHARE = 0.9
"""The share of trainings that keep a stable column; usual thresholds are 0.6 to 0.9."""


class ColumnShare(Frozen):
    """A column of a table, and the share of the pick's trainings that keep it."""

    name: str
    share: Number

    @property
    def is_stable(self) -> bool:
        """Whether nearly all trainings keep it."""
        return self.share >= STABLE_SHARE


class InputColumns(Frozen):
    """The columns of a table, those first that most trainings of the pick keep.

    Of a very wide table ``left_out`` columns are missing, of those that the fewest trainings keep.
    ``reason`` says why the columns are not known. With ``one_division`` all trainings had the same
    rows, which says nothing of how stable a choice of columns is. Early stopping has ended
    ``ended_early`` of the trainings.
    """

    trainings: int = 0
    columns: tuple[ColumnShare, ...] = ()
    left_out: int = 0
    reason: str = ""
    ended_early: int = 0
    one_division: bool = False

    @property
    def count(self) -> int:
        """The number of columns of the table."""
        return len(self.columns) + self.left_out

    @property
    def stable(self) -> tuple[str, ...]:
        """The names of the columns that nearly all trainings keep; empty where that is no news."""
        if self.trainings < 2 or self.one_division:
            return ()
        return tuple(column.name for column in self.columns if column.is_stable)


class Inspection(Frozen):
    """What was found when no choice was left to make; None where there is nothing to find."""

    robustness: RobustnessSummary = RobustnessSummary()
    columns: InputColumns | None = Field(None, description="None where inputs are not a table")
