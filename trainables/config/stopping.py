"""The rules that a spec's ``early_stopping`` can name."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Any, ClassVar, Literal, Protocol

from pydantic import Field

from trainables.config.imports import ImportPath, load_object
from trainables.config.registry import Component, Custom, Registry


class Verdict(Enum):
    """What an epoch's value means."""

    IMPROVED = "improved"
    WAIT = "wait"
    STOP = "stop"


class StoppingRule(Protocol):
    """What an early-stopping rule of a user's must have."""

    def update(self, epoch: int, value: float, gap: float | None = None) -> Verdict:
        """Take the watched metric's value in an epoch, and ``gap/loss`` where it was measured."""

    def state_dict(self) -> dict[str, Any]:
        """What :meth:`load_state_dict` needs to go on, in types that ``weights_only`` reads."""

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a state."""


class StoppingConfig(Component):
    """A rule, the metric that it watches, and which way the metric improves."""

    metric: str = Field("val/loss", description="any metric that is logged every epoch")
    mode: Literal["min", "max"] = "min"

    def build(self) -> StoppingRule:
        """The rule at the start of a training.

        Raises:
            ContractError: a user's class cannot be imported or does not take an option.
        """
        raise NotImplementedError


class CustomStopping(StoppingConfig, Custom):
    """A class of the user's with the methods of ``StoppingRule``."""

    name: ImportPath

    def build(self) -> StoppingRule:
        """``Class(**options)``, with ``metric`` and ``mode`` if it names them."""
        made: StoppingRule = self.create()
        return made


stopping_rules: Registry[StoppingConfig] = Registry(
    "stopping_rule", CustomStopping, default="patience"
)


@stopping_rules.register
class Patience(StoppingConfig):
    """Stop after ``patience`` epochs without an improvement of more than ``min_delta``.

    With ``gap_patience`` a training also stops when ``gap/loss`` has grown in so many epochs in a
    row, in none of which the metric improved.
    """

    implementation: ClassVar[str] = "trainables.regularisers.early_stopping:EarlyStopping"

    name: Literal["patience"] = "patience"
    patience: int = Field(6, ge=0, description="epochs without an improvement")
    min_delta: float = Field(0.0, ge=0, description="the least improvement that counts")
    min_delta_mode: Literal["absolute", "relative"] = Field(
        "absolute", description="`relative`: a share of the best value so far"
    )
    warmup: int = Field(0, ge=0, description="first epochs, which do not count")
    gap_patience: int | None = Field(
        None, ge=1, description="epochs in which the gap grows and the metric does not improve"
    )

    def build(self) -> StoppingRule:
        """Our own rule."""
        implementation: Any = load_object(self.implementation)
        made: StoppingRule = implementation(self)
        return made
