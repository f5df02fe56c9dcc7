"""The early-stopping rules that ``early_stopping`` in a spec can name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from trainables.config.imports import ImportPath, load_object
from trainables.config.registry import Component, Custom, Registry

if TYPE_CHECKING:
    from trainables.regularisers.early_stopping import StoppingRule


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

    ``min_delta`` is absolute, or relative to the best value so far. Epochs up to ``warmup`` do not
    count. With ``gap_patience`` a training also stops when ``gap/loss`` has grown for that many
    consecutive epochs, in none of which the metric improved.
    """

    implementation: ClassVar[str] = "trainables.regularisers.early_stopping:EarlyStopping"

    name: Literal["patience"] = "patience"
    patience: int = Field(6, ge=0)
    min_delta: float = Field(0.0, ge=0)
    min_delta_mode: Literal["absolute", "relative"] = "absolute"
    warmup: int = Field(0, ge=0)
    gap_patience: int | None = Field(None, ge=1)

    def build(self) -> StoppingRule:
        """The built-in rule."""
        implementation: Any = load_object(self.implementation)
        made: StoppingRule = implementation(self)
        return made
