"""The kinds of parameters: ranges, choices, automatic ranges, and alternatives of these."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import Annotated, Any, Literal

from pydantic import (
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    RootModel,
    StrictInt,
    model_validator,
)

from search_spaces.bounds import Bounds, MaxItems, bounds_apply
from search_spaces.models import Strict
from search_spaces.unknown_names import join_names, show
from search_spaces.values import Value, encode, identify, thaw, write

_MOST_CHOICES = 1_000
_MOST_CONDITIONS = 50
_MOST_STEPS = 1e9
MOST_ALTERNATIVES = 20
_PLAIN_TEXT = re.compile(r"[\w.:+-]+")

Values = Annotated[tuple[Value, ...], MaxItems(_MOST_CHOICES)]
When = Annotated[Mapping[str, Values], MaxItems(_MOST_CONDITIONS)]


def _as_number(bound: Any) -> Any:
    """Convert strings: YAML 1.1 reads ``1e-6`` as one."""
    try:
        return float(bound) if isinstance(bound, str) else bound
    except ValueError:
        return bound


def _as_conditions(when: Any) -> Any:
    """Expand ``penalty: l1`` to ``penalty: [l1]``."""
    if not isinstance(when, Mapping):
        return when
    return {k: v if isinstance(v, list | tuple) else (v,) for k, v in when.items()}


Bound = Annotated[
    float,
    Bounds(-1e100, 1e100),
    BeforeValidator(_as_number, json_schema_input_type=float),
]
WholeBound = Annotated[StrictInt, Bounds(-(10**15), 10**15)]
Conditions = Annotated[
    When,
    BeforeValidator(_as_conditions, json_schema_input_type=Mapping[str, Value | tuple[Value, ...]]),
]


def _leave_out_default(schema: dict[str, Any]) -> None:
    del schema["default"]


Neutral = Annotated[
    tuple[Value, ...],
    BeforeValidator(lambda value: (value,), json_schema_input_type=Value),
    PlainSerializer(lambda values: thaw(values[0])),
]
"""One value, or none: null is a value as well."""


class _Parameter(Strict):
    when: Conditions = Field(
        default_factory=dict, description="only where other parameters have these values"
    )
    neutral_values: Neutral = Field(
        (),
        alias="neutral",
        exclude_if=lambda values: not values,
        json_schema_extra=_leave_out_default,
        description="of a `model.NAME` that regularises: its value without regularisation, which "
        "baseline and controls have",
    )

    @property
    def regularises(self) -> bool:
        """Whether the spec says at which value the parameter does not regularise."""
        return bool(self.neutral_values)

    @property
    def neutral(self) -> Value:
        """The value at which it does not, see :attr:`regularises`."""
        return self.neutral_values[0]

    def choices(self) -> tuple[Value, ...]:
        """All values of a parameter that lists them; empty for a range."""
        return ()


class _Range(_Parameter):
    """The common part of ranges; both bounds are inclusive."""

    @property
    def low(self) -> float:
        """The smallest value."""
        raise NotImplementedError

    @property
    def high(self) -> float:
        """The largest value."""
        raise NotImplementedError

    def extremes(self) -> tuple[Value, Value]:
        """The smallest and the largest value."""
        return self.low, self.high

    def samples(self) -> tuple[Value, ...]:
        """Representative values: both bounds and one between them."""
        between = self.low + 0.37 * (self.high - self.low)
        return self.low, self.high, int(between) if isinstance(self.low, int) else between


class Float(_Range):
    """A float in ``[low, high]``; log-uniform with ``log``, on a grid with ``step``."""

    bounds: tuple[Bound, Bound] = Field(alias="float")
    log: bool = False
    step: Bound | None = None

    @model_validator(mode="after")
    def _check_bounds(self) -> Float:
        _check_range("float", self.low, self.high, self.log)
        if self.step is not None and self.log:
            raise ValueError("`step` and `log` are mutually exclusive; remove one")
        if self.step is not None and self.step <= 0:
            raise ValueError(f"`step` must be above 0, got {self.step:g}")
        width = self.high - self.low
        if self.step is not None and width > _MOST_STEPS * self.step and bounds_apply():
            raise ValueError(f"`step` is too small: it makes more than {_MOST_STEPS:g} values")
        return self

    @property
    def low(self) -> float:
        """The smallest value."""
        return self.bounds[0]

    @property
    def high(self) -> float:
        """The largest value."""
        return self.bounds[1]

    def contains(self, value: Value) -> bool:
        """Whether the parameter can take the value."""
        if isinstance(value, bool) or not isinstance(value, int | float):
            return False
        if not self.low <= float(value) <= self.high:
            return False
        if self.step is None:
            return True
        steps = (float(value) - self.low) / self.step
        return math.isclose(steps, round(steps), abs_tol=1e-8)

    def describe(self) -> str:
        """The valid values, for messages."""
        return f"a number from {self.low:g} to {self.high:g}" + (
            f" in steps of {self.step:g}" if self.step else ""
        )

    def summarise(self) -> str:
        """The valid values, for tables."""
        return _summarise_range(self.low, self.high, self.log, self.step)


class Int(_Range):
    """An integer in ``[low, high]``; log-uniform with ``log``, on a grid with ``step``."""

    bounds: tuple[WholeBound, WholeBound] = Field(alias="int")
    log: bool = False
    step: Annotated[int, Bounds(1, 10**15)] = 1

    @model_validator(mode="after")
    def _check_bounds(self) -> Int:
        _check_range("int", self.low, self.high, self.log)
        if self.step != 1 and self.log:
            raise ValueError("`step` and `log` are mutually exclusive; remove one")
        return self

    @property
    def low(self) -> int:
        """The smallest value."""
        return self.bounds[0]

    @property
    def high(self) -> int:
        """The largest value."""
        return self.bounds[1]

    def contains(self, value: Value) -> bool:
        """Whether the parameter can take the value."""
        if isinstance(value, bool) or not isinstance(value, int):
            return False
        return self.low <= value <= self.high and (value - self.low) % self.step == 0

    def describe(self) -> str:
        """The valid values, for messages."""
        steps = f" in steps of {self.step}" if self.step > 1 else ""
        return f"a whole number from {self.low} to {self.high}{steps}"

    def summarise(self) -> str:
        """The valid values, for tables."""
        return _summarise_range(self.low, self.high, self.log, self.step if self.step > 1 else None)


class Choice(_Parameter):
    """One of several values; a single value is a constant."""

    values: Annotated[Values, Field(min_length=1)] = Field(alias="choice")

    @model_validator(mode="after")
    def _check_distinct(self) -> Choice:
        seen: set[tuple[bool, Any]] = set()
        for value in self.values:
            stored = identify(encode(value))
            if stored in seen:
                raise ValueError(f"duplicate choice {show(thaw(value))}")
            seen.add(stored)
        return self

    @cached_property
    def _known(self) -> frozenset[tuple[bool, Any]]:
        return frozenset(identify(value) for value in self.values)

    def choices(self) -> tuple[Value, ...]:
        """All values, in the order of the spec."""
        return self.values

    def extremes(self) -> tuple[Value, Value]:
        """The first and the last value."""
        return self.values[0], self.values[-1]

    def samples(self) -> tuple[Value, ...]:
        """Representative values: all of them."""
        return self.values

    def contains(self, value: Value) -> bool:
        """Whether the parameter can take the value."""
        return identify(value) in self._known

    def describe(self) -> str:
        """The valid values, for messages."""
        return f"one of {join_names(map(write, self.values))}"

    def summarise(self) -> str:
        """The valid values, for tables."""
        return join_names(map(write, self.values))


_TYPICAL = 0.01


class UnknownRangeError(Exception):
    """An automatic range was to be sampled before it was computed: an error of the program."""

    def __init__(self) -> None:
        super().__init__("an automatic range must be computed before it is sampled")


class Auto(_Parameter):
    """A range that the sweep computes before its first trial, from its data and its network.

    It cannot be sampled. Until it is replaced, it counts as any number above 0.
    """

    auto: Literal[True] = Field(description="only of `lambda`: ranges that the sweep computes")

    def extremes(self) -> tuple[Value, Value]:
        """A value; the bounds are not known."""
        return _TYPICAL, _TYPICAL

    def samples(self) -> tuple[Value, ...]:
        """Representative values: a typical one."""
        return (_TYPICAL,)

    def contains(self, value: Value) -> bool:
        """Whether the parameter may be able to take the value."""
        return not isinstance(value, bool) and isinstance(value, int | float) and value > 0

    def describe(self) -> str:
        """The valid values, for messages."""
        return "a number above 0"

    def summarise(self) -> str:
        """The valid values, for tables."""
        return "computed when the sweep starts"


Plain = Float | Int | Choice | Auto


class Alternatives(RootModel[Annotated[tuple[Plain, ...], Field(min_length=1)]]):
    """Several definitions of one parameter, each under a condition that excludes the others."""

    model_config = ConfigDict(frozen=True)

    @property
    def regularises(self) -> bool:
        """Whether the spec says at which value the parameter does not regularise."""
        return any(plain.regularises for plain in self.root)

    @property
    def neutral(self) -> Value:
        """The value at which it does not, see :attr:`regularises`."""
        return next(plain.neutral for plain in self.root if plain.regularises)

    def choices(self) -> tuple[Value, ...]:
        """All values of the alternatives that list them."""
        return _distinguish(value for plain in self.root for value in plain.choices())

    def extremes(self) -> tuple[Value, Value]:
        """The first value of the first alternative, and the last one of the last."""
        return self.root[0].extremes()[0], self.root[-1].extremes()[1]

    def samples(self) -> tuple[Value, ...]:
        """Representative values of all alternatives."""
        return _distinguish(value for plain in self.root for value in plain.samples())

    def contains(self, value: Value) -> bool:
        """Whether the parameter can take the value in any alternative."""
        return any(plain.contains(value) for plain in self.root)

    def describe(self) -> str:
        """The valid values, for messages."""
        return " or ".join(dict.fromkeys(plain.describe() for plain in self.root))


Parameter = Plain | Alternatives


def list_alternatives(parameter: Parameter) -> tuple[Plain, ...]:
    """The alternatives of a parameter; itself where it has one definition only."""
    return parameter.root if isinstance(parameter, Alternatives) else (parameter,)


def list_parents(parameter: Parameter) -> tuple[str, ...]:
    """The parameters on which the conditions of a parameter depend, each once."""
    conditions = (plain.when for plain in list_alternatives(parameter))
    return tuple(dict.fromkeys(parent for when in conditions for parent in when))


def write_condition(when: Mapping[str, tuple[Value, ...]], *, equals: str, either: str) -> str:
    """A condition in one line; different conditions give different texts."""
    return ", ".join(
        f"{parent}{equals}{either.join(map(_write_plainly, values))}"
        for parent, values in when.items()
    )


def _write_plainly(value: Value) -> str:
    """A value without quotes, unless it is a text that would then read as something else."""
    if isinstance(value, str) and _PLAIN_TEXT.fullmatch(value) and not _is_json(value):
        return value
    return json.dumps(thaw(value), ensure_ascii=False)


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


def _check_range(kind: str, low: float, high: float, log: bool) -> None:
    if low >= high:
        what = "empty" if low == high else "inverted"
        raise ValueError(f"{kind} range [{low:g}, {high:g}] is {what}; low must be below high")
    if log and low <= 0:
        raise ValueError(f"the lower bound of a log range must be above 0, got {low:g}")


def _summarise_range(low: float, high: float, log: bool, step: float | None) -> str:
    scale = ", log" if log else ""
    return f"{low:g} to {high:g}{scale}" + (f", in steps of {step:g}" if step else "")


def _distinguish(values: Iterable[Value]) -> tuple[Value, ...]:
    return tuple({identify(value): value for value in values}.values())
