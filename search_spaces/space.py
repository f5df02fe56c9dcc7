"""The search space: parameters, their ranges, and the conditions under which each exists."""

from __future__ import annotations

import math
from collections.abc import Container, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Annotated, Any

from pydantic import (
    BeforeValidator,
    ConfigDict,
    Field,
    RootModel,
    StrictBool,
    StrictFloat,
    StrictInt,
    StrictStr,
    model_validator,
)
from pydantic_core import InitErrorDetails, ValidationError

from search_spaces.models import Strict, make_problem
from search_spaces.words import did_you_mean

Value = StrictBool | StrictInt | StrictFloat | StrictStr
When = Mapping[str, tuple[Value, ...]]


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
    float, BeforeValidator(_as_number, json_schema_input_type=float), Field(allow_inf_nan=False)
]
Conditions = Annotated[
    When,
    BeforeValidator(_as_conditions, json_schema_input_type=Mapping[str, Value | tuple[Value, ...]]),
]


class _Parameter(Strict):
    when: Conditions = Field(
        default_factory=dict, description="only where other parameters have these values"
    )

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
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if not number or not self.low <= float(value) <= self.high:
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

    bounds: tuple[StrictInt, StrictInt] = Field(alias="int")
    log: bool = False
    step: int = Field(1, ge=1)

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

    values: tuple[Value, ...] = Field(alias="choice", min_length=1)

    @model_validator(mode="after")
    def _check_distinct(self) -> Choice:
        for position, value in enumerate(self.values):
            if any(is_same(value, other) for other in self.values[:position]):
                raise ValueError(f"duplicate choice {value!r}")
        return self

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
        return any(is_same(value, own) for own in self.values)

    def describe(self) -> str:
        """The valid values, for messages."""
        return "one of " + ", ".join(str(v) for v in self.values)


Parameter = Float | Int | Choice
_KINDS: dict[str, type[Float] | type[Int] | type[Choice]] = {
    "float": Float,
    "int": Int,
    "choice": Choice,
}


def is_same(a: Value, b: Value) -> bool:
    """Equality that distinguishes ``True`` from ``1``, but not ``1`` from ``1.0``."""
    return isinstance(a, bool) == isinstance(b, bool) and a == b


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
        found: dict[str, Parameter] = {}
        errors: list[InitErrorDetails] = []
        for name, definition in raw.items():
            try:
                found[str(name)] = _parse_parameter(definition)
            except ValidationError as error:
                errors += [_relocate(e, str(name)) for e in error.errors(include_url=False)]
        if not errors:
            errors = [
                make_problem([name], text, name) for name, text in _find_inconsistencies(found)
            ]
        if errors:
            raise ValidationError.from_exception_data("SearchSpace", errors)
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
    keys = [str(k) for k in definition] if isinstance(definition, Mapping) else []
    hint = next((h for k in keys if (h := did_you_mean(k, _KINDS))), "")
    text = (
        "a parameter must be exactly one of {float: [low, high]}, {int: [low, high]}, "
        f"{{choice: [a, b]}}, or a constant; got {definition!r}{hint}"
    )
    return make_problem((), text, definition)


def _check_range(kind: str, low: float, high: float, log: bool) -> None:
    if low >= high:
        what = "empty" if low == high else "inverted"
        raise ValueError(f"{kind} range [{low:g}, {high:g}] is {what}; low must be below high")
    if log and low <= 0:
        raise ValueError(f"the lower bound of a log range must be above 0, got {low:g}")


def _find_inconsistencies(space: Mapping[str, Parameter]) -> Iterator[tuple[str, str]]:
    for name, parameter in space.items():
        for parent, values in parameter.when.items():
            yield from ((name, text) for text in _check_condition(space, name, parent, values))
    if not any(True for n, p in space.items() for parent in p.when if parent not in space):
        cycle = _find_cycle(space)
        if cycle:
            yield cycle[0], "circular `when` conditions: " + " → ".join(cycle)


def _check_condition(
    space: Mapping[str, Parameter], name: str, parent: str, values: Sequence[Value]
) -> Iterator[str]:
    if parent == name:
        yield "`when` refers to the parameter itself"
    elif parent not in space:
        names = ", ".join(n for n in space if n != name)
        hint = did_you_mean(parent, space)
        yield f"`when` refers to {parent!r}, which is not in the space{hint} ({names})"
    else:
        for value in values:
            if not space[parent].contains(value):
                words = [str(v) for v in space[parent].choices()]
                yield (
                    f"`when` requires {parent} to be {value!r}, but it is "
                    f"{space[parent].describe()}{did_you_mean(value, words)}"
                )
        if not values:
            yield f"`when` lists no value of {parent}"


def _find_cycle(space: Mapping[str, Parameter]) -> list[str]:
    """Names along a cycle of conditions, the first repeated at the end; empty without a cycle."""
    done: set[str] = set()

    def visit(name: str, path: list[str]) -> list[str]:
        if name in path:
            return [*path[path.index(name) :], name]
        if name in done:
            return []
        found = next(
            (c for p in space[name].when if p != name and (c := visit(p, [*path, name]))), []
        )
        done.add(name)
        return found

    return next((c for name in space if (c := visit(name, []))), [])


def _relocate(error: Any, name: str) -> InitErrorDetails:
    """The same error, moved one level down, below the parameter's name."""
    place = (name, *error["loc"])
    if error["type"] == "value_error":
        return make_problem(place, str(error["ctx"]["error"]), error["input"])
    details = InitErrorDetails(type=error["type"], loc=place, input=error["input"])
    if "ctx" in error:
        details["ctx"] = error["ctx"]
    return details
