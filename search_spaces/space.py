"""The search space: parameters, their ranges, and the conditions under which each exists."""

from __future__ import annotations

import math
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from functools import cached_property, partial
from graphlib import CycleError, TopologicalSorter
from typing import Annotated, Any

from pydantic import (
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    RootModel,
    StrictInt,
    model_validator,
)
from pydantic_core import InitErrorDetails, ValidationError

from search_spaces.bounds import Bounds, MaxItems, bounds_apply
from search_spaces.models import Problems, Strict, make_problem
from search_spaces.values import Value, encode, identify, is_same, thaw, write
from search_spaces.words import did_you_mean, join_names, shorten, show

_MOST_CHOICES = 1_000
_MOST_CONDITIONS = 50
_MOST_PARAMETERS = 200
_MOST_STEPS = 1e9
_MOST_KEYS = 20

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


Parameter = Float | Int | Choice
_KINDS: dict[str, type[Float] | type[Int] | type[Choice]] = {
    "float": Float,
    "int": Int,
    "choice": Choice,
}


class SearchSpace(RootModel[dict[str, Annotated[Parameter, Field(union_mode="left_to_right")]]]):
    """Named parameters, each with a range and conditions, checked for consistency.

    All problems of all parameters are reported at once, each at its parameter's location.
    """

    model_config = ConfigDict(frozen=True)

    @model_validator(mode="wrap")
    @classmethod
    def _parse(cls, raw: Any, build: Any) -> SearchSpace:
        if isinstance(raw, cls):
            return raw
        if not isinstance(raw, Mapping):
            raise ValueError("a space maps names to parameters, e.g. `dropout: {float: [0, 0.5]}`")
        if len(raw) > _MOST_PARAMETERS and bounds_apply():
            raise ValueError(f"has {len(raw):,} parameters; at most {_MOST_PARAMETERS} are allowed")
        found: dict[str, Parameter] = {}
        problems = Problems()
        for name, definition in raw.items():
            try:
                found[str(name)] = _parse_parameter(definition)
            except ValidationError as error:
                problems.add_errors(error, (str(name),))
        if not problems:
            for name, describe in _find_inconsistencies(found):
                problems.add((name,), describe, name)
        problems.raise_any("SearchSpace")
        space: SearchSpace = build(found)
        return space

    @property
    def parameters(self) -> Mapping[str, Parameter]:
        """The parameters by name, in the order of the spec."""
        return self.root

    def order_names(self) -> tuple[str, ...]:
        """Names, every parent before its children, otherwise in the order of the spec."""
        return self._order

    @cached_property
    def _order(self) -> tuple[str, ...]:
        order: dict[str, None] = {}
        waiting = list(reversed(self.root))
        while waiting:
            name = waiting[-1]
            above = [p for p in self.root[name].when if p not in order]
            if above and name not in order:
                waiting += reversed(above)
            else:
                order[waiting.pop()] = None
        return tuple(order)

    def find_active(self, point: Mapping[str, Value]) -> tuple[str, ...]:
        """Names of the parameters that are active at a point, parents first.

        A parent that is absent or inactive meets no condition.
        """
        active: dict[str, Value] = {}
        names: list[str] = []
        for name in self._order:
            if self.is_active(name, active):
                names.append(name)
                if name in point:
                    active[name] = point[name]
        return tuple(names)

    def is_active(
        self, name: str, active: Mapping[str, Value], among: Container[str] | None = None
    ) -> bool:
        """Whether a parameter is active where these are all ``active`` ones, with their values.

        Conditions on parameters that are not ``among`` some names count as met.
        """
        return all(
            (among is not None and parent not in among)
            or (parent in active and any(is_same(active[parent], v) for v in allowed))
            for parent, allowed in self.root[name].when.items()
        )


def _parse_parameter(definition: Any) -> Parameter:
    if isinstance(definition, Float | Int | Choice):
        return definition
    if isinstance(definition, bool | int | float | str):
        return Choice.model_validate({"choice": [definition]})
    kinds = [k for k in _KINDS if isinstance(definition, Mapping) and k in definition]
    if len(kinds) != 1:
        raise ValidationError.from_exception_data(
            "SearchSpace", [_describe_kind_problem(definition)]
        )
    return _KINDS[kinds[0]].model_validate(definition)


def _describe_kind_problem(definition: Any) -> InitErrorDetails:
    keys = [str(k) for k in definition][:_MOST_KEYS] if isinstance(definition, Mapping) else []
    hint = next((h for k in keys if (h := did_you_mean(k, _KINDS))), "")
    text = (
        "a parameter must be exactly one of {float: [low, high]}, {int: [low, high]}, "
        f"{{choice: [a, b]}}, or a constant; got {show(definition)}{hint}"
    )
    return make_problem((), text, definition)


def _check_range(kind: str, low: float, high: float, log: bool) -> None:
    if low >= high:
        what = "empty" if low == high else "inverted"
        raise ValueError(f"{kind} range [{low:g}, {high:g}] is {what}; low must be below high")
    if log and low <= 0:
        raise ValueError(f"the lower bound of a log range must be above 0, got {low:g}")


def _find_inconsistencies(
    space: Mapping[str, Parameter],
) -> Iterator[tuple[str, Callable[[], str]]]:
    """Parameters with a problem, and what describes it."""
    for name, parameter in space.items():
        for parent, values in parameter.when.items():
            for describe in _check_condition(space, name, parent, values):
                yield name, describe
    if all(parent in space for p in space.values() for parent in p.when):
        cycle = _find_cycle(space)
        if cycle:
            yield cycle[0], partial(_describe_cycle, cycle)


def _check_condition(
    space: Mapping[str, Parameter], name: str, parent: str, values: Sequence[Value]
) -> Iterator[Callable[[], str]]:
    if parent == name:
        yield partial(str, "`when` refers to the parameter itself")
    elif parent not in space:
        yield partial(_describe_unknown_parent, space, name, parent)
    else:
        for value in values:
            if not space[parent].contains(value):
                yield partial(_describe_impossible, space[parent], parent, value)
        if not values:
            yield partial(str, f"`when` lists no value of {shorten(parent)}")


def _describe_unknown_parent(space: Mapping[str, Parameter], name: str, parent: str) -> str:
    names = join_names(n for n in space if n != name)
    hint = did_you_mean(parent, space)
    return f"`when` refers to {show(parent)}, which is not in the space{hint} ({names})"


def _describe_impossible(above: Parameter, parent: str, value: Value) -> str:
    words = [write(v) for v in above.choices()]
    return (
        f"`when` requires {shorten(parent)} to be {show(thaw(value))}, but it is "
        f"{above.describe()}{did_you_mean(value, words)}"
    )


def _describe_cycle(cycle: Sequence[str]) -> str:
    return f"circular `when` conditions: {join_names(cycle, ' → ')}"


def _find_cycle(space: Mapping[str, Parameter]) -> list[str]:
    """Names along a cycle of conditions, the first repeated at the end; empty without a cycle."""
    try:
        TopologicalSorter({n: [p for p in s.when if p != n] for n, s in space.items()}).prepare()
    except CycleError as error:
        cycle: list[str] = error.args[1]
        return cycle
    return []
