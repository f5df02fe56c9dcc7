"""The parameters of every built-in regulariser, which a space names by flat keys.

Each model is one regulariser; the class with its hooks is loaded when it is built. All defaults
are off. To add a regulariser, add a model here and a class in ``trainables/regularisers``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Self

from pydantic import (
    BeforeValidator,
    Field,
    PrivateAttr,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from search_spaces.bounds import Amount, Positive
from search_spaces.models import Strict, get_first_message
from search_spaces.values import Value
from trainables.config.augmentations import augmentations
from trainables.config.imports import ImportPath, load_object
from trainables.config.penalties import penalties
from trainables.config.registry import Component, Custom, Registry

if TYPE_CHECKING:
    from trainables.regularisers.base import Regulariser

Share = Annotated[float, Field(ge=0, lt=1)]
Probability = Annotated[float, Field(ge=0, le=1)]


def _list_names(parts: Any) -> Any:
    """One part, or several, as names: an index in a tuple becomes text."""
    listed = parts if isinstance(parts, list | tuple) else (parts,)
    if any(isinstance(part, bool) or not isinstance(part, int | str) for part in listed):
        raise ValueError("must be a key, an index, or a list of them")
    return tuple(map(str, listed))


InputParts = Annotated[
    tuple[str, ...],
    BeforeValidator(_list_names, json_schema_input_type=str | int | tuple[str | int, ...]),
]
_PARTS = "of nested inputs: the part to act on, a key or an index (`image`, `0`), or a list of them"


class RegulariserConfig(Strict):
    """One regulariser's parameters, by the keys of a space; every default switches it off.

    ``implementation`` is the import path of its class, which is built with this model.
    ``neutral`` are the values at which the baseline fixes its keys. ``symbols`` are what reports
    write for a key, where it is not the key itself.

    Of nested inputs it acts on the parts that the key ``on`` names, if it has one.

    Where it stands for a family of components, ``selector`` is the key that names one of
    ``registry``, or ``none``; ``strength`` is the key of its strength. Of the keys ``exclusive``
    only one may be active at a point.
    """

    implementation: ClassVar[str] = ""
    selector: ClassVar[str] = ""
    registry: ClassVar[Registry[Any]]
    strength: ClassVar[str] = ""
    exclusive: ClassVar[tuple[str, ...]] = ()
    on: ClassVar[str] = ""
    neutral: ClassVar[Mapping[str, Value]] = {}
    symbols: ClassVar[Mapping[str, str]] = {}

    @property
    def active(self) -> bool:
        """Whether it has an effect; inactive ones are not built."""
        fields = type(self).model_fields.items()
        return any(getattr(self, name) != f.default for name, f in fields if name != self.on)

    @property
    def key(self) -> str:
        """The key that errors name where it does not fit the network or the data."""
        return self.names()[0]

    @classmethod
    def part(cls) -> str:
        """The name of this regulariser as a part of a configuration, as reports write it."""
        return cls.names()[0]

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """The keys of its parameters, as a space names them."""
        return tuple(f.alias or name for name, f in cls.model_fields.items())

    def build(self) -> Regulariser:
        """A new regulariser, for one training.

        Raises:
            ContractError: a user-defined class cannot be imported or rejects its arguments.
        """
        implementation: Any = load_object(self.implementation)
        made: Regulariser = implementation(self)
        return made

    @field_validator("*")
    @classmethod
    def _check_selected(cls, value: Any, info: ValidationInfo) -> Any:
        """Check the name of a component; an unknown one raises the registry's message."""
        if info.field_name == cls.selector and value != "none":
            try:
                cls.registry.parse(value)
            except ValidationError as error:
                raise ValueError(get_first_message(error)) from None
        return value

    @model_validator(mode="after")
    def _check_exclusive(self) -> Self:
        active = [key for key in self.exclusive if getattr(self, key)]
        if len(active) > 1:
            names = " and ".join(f"`{key}`" for key in active)
            raise ValueError(f"{names} are mutually exclusive; set all but one to 0")
        return self


class Penalty(RegulariserConfig):
    """λ times a function of the weights, added to the training loss."""

    implementation = "trainables.regularisers.penalties:build_penalty"
    selector = "penalty"
    registry = penalties
    strength = "lambda"
    neutral: ClassVar[Mapping[str, Value]] = {"penalty": "none"}
    symbols: ClassVar[Mapping[str, str]] = {"lambda": "λ"}

    penalty: str = Field("none", description="added to the training loss only")
    lam: Amount = Field(0.0, alias="lambda", description="strength of the penalty")
    l1_ratio: Probability = Field(0.5, description="share of L1 in `elastic_net`")

    @property
    def active(self) -> bool:
        """Whether there is a penalty with λ above 0."""
        return self.penalty != "none" and self.lam > 0


class MaxNorm(RegulariserConfig):
    """An upper bound on the norm of each unit's weights."""

    implementation = "trainables.regularisers.max_norm:MaxNorm"

    max_norm: Positive | None = Field(None, description="maximum norm of each unit's weights")


class Dropout(RegulariserConfig):
    """The rate of every dropout layer; by default a network keeps the rates it was built with."""

    implementation = "trainables.regularisers.dropout:SetDropout"
    neutral: ClassVar[Mapping[str, Value]] = {"dropout": 0.0}

    dropout: Share | None = Field(None, description="rate of every dropout layer")


class StochasticDepth(RegulariserConfig):
    """The drop rate of stochastic-depth layers."""

    implementation = "trainables.regularisers.stochastic_depth:SetStochasticDepth"
    neutral: ClassVar[Mapping[str, Value]] = {"stochastic_depth": 0.0}

    stochastic_depth: Share | None = Field(
        None, description="rate of the layers that drop branches"
    )


class Augmentation(RegulariserConfig):
    """Random transformations of the inputs that keep the targets."""

    implementation = "trainables.regularisers.augmentation:Augmentation"
    selector = "augmentation"
    registry = augmentations
    strength = "augmentation_strength"
    on = "augmentation_on"
    neutral: ClassVar[Mapping[str, Value]] = {"augmentation": "none"}
    symbols: ClassVar[Mapping[str, str]] = {"augmentation_strength": "strength"}

    augmentation: str = Field("none", description="of training batches only")
    augmentation_strength: Probability = Field(0.5, description="0 changes nothing")
    augmentation_on: InputParts = Field((), description=_PARTS)

    @property
    def active(self) -> bool:
        """Whether there is an augmentation with a strength above 0."""
        return self.augmentation != "none" and self.augmentation_strength > 0


class RandomErasing(RegulariserConfig):
    """Random boxes of images set to 0."""

    implementation = "trainables.regularisers.random_erasing:RandomErasing"

    on = "random_erasing_on"

    random_erasing: Probability = Field(0.0, description="probability per image")
    random_erasing_on: InputParts = Field((), description=_PARTS)


class InputNoise(RegulariserConfig):
    """Gaussian noise on the inputs."""

    implementation = "trainables.regularisers.noise:InputNoise"
    on = "input_noise_on"

    input_noise: Amount = Field(
        0.0, description="standard deviation of Gaussian noise on the inputs"
    )
    input_noise_on: InputParts = Field((), description=_PARTS)


class Mixing(RegulariserConfig):
    """Mixup (convex combinations) or CutMix (swapped boxes); one of them per batch."""

    implementation = "trainables.regularisers.mixing:Mixing"
    on = "mixing_on"

    mixup: Amount = Field(0.0, description="alpha of the Beta distribution; 0 turns it off")
    cutmix: Amount = Field(0.0, description="alpha of the Beta distribution; 0 turns it off")
    mixing_on: InputParts = Field((), description=_PARTS)

    @property
    def key(self) -> str:
        """``cutmix`` if it is on: it needs more than mixup."""
        return "cutmix" if self.cutmix else "mixup"

    @classmethod
    def part(cls) -> str:
        """Both keys are one part."""
        return "mixing"


class LabelSmoothing(RegulariserConfig):
    """Targets mixed with the uniform distribution over the classes."""

    implementation = "trainables.regularisers.label_smoothing:LabelSmoothing"

    label_smoothing: Share = Field(0.0, description="weight of the uniform distribution")


class GradientNoise(RegulariserConfig):
    """Gaussian noise on the gradients, decaying over the steps."""

    implementation = "trainables.regularisers.noise:GradientNoise"

    gradient_noise: Amount = Field(
        0.0, description="standard deviation in the first step; it decays"
    )


class Averaging(RegulariserConfig):
    """An average of the weights, evaluated and kept instead of them."""

    implementation = "trainables.regularisers.averaging:build_averaging"
    exclusive = ("ema", "swa")

    ema: Share = Field(0.0, description="decay of the weights' moving average; 0 is off")
    swa: Share = Field(
        0.0, description="share of the epochs that run, the last ones, whose weights are averaged"
    )

    @property
    def key(self) -> str:
        """The one that is on."""
        return "swa" if self.swa else "ema"

    @classmethod
    def part(cls) -> str:
        """Both keys are one part."""
        return "averaging"


class OwnRegulariser(Component):
    """An entry of a spec's ``regularisers``, under the label that the spec gives it."""

    _part: str = PrivateAttr("")

    @property
    def label(self) -> str:
        """The spec's label, by which it is a part of a configuration; else the class's name."""
        return self._part or super().label

    def named(self, label: str) -> Self:
        """This entry under a label."""
        made = self.model_copy()
        made._part = label
        return made

    def build(self) -> Regulariser:
        """The regulariser at the start of a training.

        Raises:
            ContractError: it cannot be imported or does not accept an option.
        """
        raise NotImplementedError


class CustomRegulariser(OwnRegulariser, Custom):
    """A user-defined subclass of `gapsweep.Regulariser`."""

    expected = "trainables.regularisers.base:Regulariser"

    name: ImportPath

    def build(self) -> Regulariser:
        """``Class(**options)``."""
        made: Regulariser = self.create()
        return made


regularisers: Registry[OwnRegulariser] = Registry(
    "regulariser", CustomRegulariser, group="regularisers"
)

BUILT_IN: tuple[type[RegulariserConfig], ...] = (
    Penalty,
    MaxNorm,
    Dropout,
    StochasticDepth,
    Augmentation,
    RandomErasing,
    InputNoise,
    Mixing,
    LabelSmoothing,
    GradientNoise,
    Averaging,
)
BY_KEY: Mapping[str, type[RegulariserConfig]] = {k: c for c in BUILT_IN for k in c.names()}
KEYS: tuple[str, ...] = tuple(BY_KEY)
NEUTRAL: Mapping[str, Value] = {k: v for config in BUILT_IN for k, v in config.neutral.items()}
OFF: Mapping[str, Value] = {
    **{
        field.alias or name: field.default
        for config in BUILT_IN
        if not config.selector
        for name, field in config.model_fields.items()
        if name != config.on
    },
    **NEUTRAL,
}
"""The values of keys at which their regularisers do not act."""
SYMBOLS: Mapping[str, str] = {k: v for config in BUILT_IN for k, v in config.symbols.items()}


def read_regularisers(params: Mapping[str, Any]) -> tuple[RegulariserConfig, ...]:
    """The built-in regularisers that are active at a point.

    Raises:
        ValidationError: a value is out of range.
    """
    made = (
        config.model_validate({k: params[k] for k in config.names() if k in params})
        for config in BUILT_IN
    )
    return tuple(config for config in made if config.active)
