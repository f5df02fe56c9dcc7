"""The early-stopping rules that ``early_stopping`` in a spec can name."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Any, ClassVar, Literal, Protocol

from pydantic import Field

from trainables.config.imports import ImportPath, load_object
from trainables.config.registry import Component, Custom, Registry


class Verdict(Enum):
    """The verdict on an epoch's value."""

    IMPROVED = "improved"
    WAIT = "wait"
    STOP = "stop"


class StoppingRule(Protocol):
    """The interface of early-stopping rules, built in or user-defined."""

    def update(self, epoch: int, value: float, gap: float | None = None) -> Verdict:
        """Judge an epoch by the monitored metric, and by ``gap/loss`` if it was measured."""

    def state_dict(self) -> dict[str, Any]:
        """The state for :meth:`load_state_dict`, in types that ``weights_only`` loads."""

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore a state."""


class StoppingConfig(Component):
    """A stopping rule, the metric it monitors, and the direction of improvement."""

    metric: str = Field("val/loss", description="any metric that is logged every epoch")
    mode: Literal["min", "max"] = "min"

    def build(self) -> StoppingRule:
        """The rule at the start of a training.

        Raises:
            ContractError: a user-defined class cannot be imported or does not accept an option.
        """
        raise NotImplementedError


class CustomStopping(StoppingConfig, Custom):
    """A user-defined class with the methods of ``StoppingRule``."""

    name: ImportPath

    def build(self) -> StoppingRule:
        """``Class(**options)``, with ``metric`` and ``mode`` if it accepts them."""
        made: StoppingRule = self.create()
        return made


stopping_rules: Registry[StoppingConfig] = Registry(
    "stopping_rule", CustomStopping, default="patience"
)


@stopping_rules.register
class Patience(StoppingConfig):
    """Stop after ``patience`` epochs without an improvement of more than ``min_delta``.

    With ``gap_patience`` a training also stops when ``gap/loss`` has grown for that many
    consecutive epochs, in none of which the metric improved.
    """

    implementation: ClassVar[str] = "trainables.regularisers.early_stopping:EarlyStopping"

    name: Literal["patience"] = "patience"
    patience: int = Field(6, ge=0, description="epochs without an improvement")
    min_delta: float = Field(0.0, ge=0, description="the least improvement that counts")
    min_delta_mode: Literal["absolute", "relative"] = Field(
        "absolute", description="`relative` to the best value so far"
    )
    warmup: int = Field(0, ge=0, description="first epochs, which do not count")
    gap_patience: int | None = Field(
        None, ge=1, description="epochs in which the gap grows and the metric does not improve"
    )

    def build(self) -> StoppingRule:
        """The built-in rule."""
        implementation: Any = load_object(self.implementation)
        made: StoppingRule = implementation(self)
        return made
