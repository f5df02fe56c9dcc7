"""The early-stopping rules that ``early_stopping`` in a spec can name."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Any, ClassVar, Literal, Protocol, runtime_checkable

from pydantic import Field

from search_spaces.bounds import Amount, Epochs, SomeEpochs
from trainables.config.imports import ImportPath, load_object
from trainables.config.registry import Component, Custom, Registry


class Verdict(Enum):
    """The verdict of a stopping rule on an epoch.

    ``IMPROVED``: keep this epoch's weights. ``WAIT``: continue with the weights kept so far.
    ``STOP``: end the training with them.
    """

    IMPROVED = "improved"
    WAIT = "wait"
    STOP = "stop"


@runtime_checkable
class StoppingRule(Protocol):
    """The interface of early-stopping rules; your class need not inherit from it.

    ``early_stopping: {name: "module:Class", metric: val/loss, option: 1}`` names it. It is built
    for every training, with the options, and with ``metric`` and ``mode`` if it names them.
    """

    def update(self, epoch: int, value: float, gap: float | None = None) -> Verdict:
        """Judge an epoch; called after every one, in order.

        Args:
            epoch: its number, from 1.
            value: the watched metric.
            gap: ``gap/loss`` of the epoch, None if it was not measured.
        """

    def state_dict(self) -> dict[str, Any]:
        """What :meth:`load_state_dict` needs, in types that ``torch.load`` reads without pickle."""

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from a state of :meth:`state_dict`, in a new instance."""


class StoppingConfig(Component):
    """A stopping rule: the metric that it watches, and which way the metric improves."""

    metric: str = Field("val/loss", description="any metric that is logged every epoch")
    mode: Literal["min", "max"] = Field(
        "min", description="default: `max` for a metric of which more is better"
    )

    def settle(self, max_epochs: int) -> StoppingConfig:
        """The rule for trainings of so many epochs, where its defaults depend on them."""
        return self

    def build(self) -> StoppingRule:
        """A new rule, for one training.

        Raises:
            ContractError: a user-defined class cannot be imported or does not accept an option.
        """
        raise NotImplementedError


class CustomStopping(StoppingConfig, Custom):
    """A user-defined class with the methods of `gapsweep.StoppingRule`."""

    expected = "trainables.config.stopping:StoppingRule"

    name: ImportPath

    def build(self) -> StoppingRule:
        """``Class(**options)``, with ``metric`` and ``mode`` if it accepts them."""
        made: StoppingRule = self.create()
        return made


stopping_rules: Registry[StoppingConfig] = Registry(
    "stopping rule", CustomStopping, group="stopping_rules", default="patience"
)


LEAST_PATIENCE, PATIENCE_SHARE = 6, 0.1


def choose_patience(max_epochs: int) -> int:
    """The default patience: longer trainings move less in an epoch, and wait for more of them."""
    return max(LEAST_PATIENCE, round(PATIENCE_SHARE * max_epochs))


@stopping_rules.register
class Patience(StoppingConfig):
    """Stop after ``patience`` epochs without an improvement of more than ``min_delta``.

    With ``gap_patience`` a training also stops when ``gap/loss`` has grown for that many
    consecutive epochs, in none of which the metric improved.
    """

    implementation: ClassVar[str] = "trainables.regularisers.early_stopping:EarlyStopping"

    name: Literal["patience"] = "patience"
    patience: Epochs | None = Field(
        None,
        description=f"epochs without an improvement; default: {PATIENCE_SHARE:.0%} of "
        f"`training.max_epochs`, at least {LEAST_PATIENCE}",
    )
    min_delta: Amount = Field(0.0, description="the least improvement that counts")
    min_delta_mode: Literal["absolute", "relative"] = Field(
        "absolute", description="`relative` to the best value so far"
    )
    warmup: Epochs = Field(0, description="first epochs, which do not count")
    gap_patience: SomeEpochs | None = Field(
        None, description="epochs in which the gap grows and the metric does not improve"
    )

    def settle(self, max_epochs: int) -> Patience:
        """The rule with a patience."""
        if self.patience is not None:
            return self
        return self.model_copy(update={"patience": choose_patience(max_epochs)})

    def build(self) -> StoppingRule:
        """The built-in rule."""
        implementation: Any = load_object(self.implementation)
        made: StoppingRule = implementation(self)
        return made
