"""What a study samples of a space: each parameter, or each of its alternatives."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from search_spaces.kinds import Alternatives, Parameter, Plain, write_condition

_LONGEST_CONDITION = 200


@dataclass(frozen=True)
class Dimension:
    """What a study samples: a parameter, or one of its alternatives, each under its own name.

    Optuna would leave a parameter that has other ranges in other trials out of what it models
    jointly, so that every alternative is a parameter of its own there.
    """

    name: str
    stored: str
    plain: Plain

    @property
    def condition(self) -> str:
        """Where it exists, for people; empty if everywhere."""
        return write_condition(self.plain.when, equals=" is ", either=" or ")


def divide(name: str, parameter: Parameter) -> Iterator[Dimension]:
    """The dimensions of a parameter; a name in the study is its condition, if that is short."""
    if not isinstance(parameter, Alternatives):
        yield Dimension(name, name, parameter)
        return
    for place, plain in enumerate(parameter.root):
        condition = write_condition(plain.when, equals="=", either="|")
        short = len(condition) <= _LONGEST_CONDITION
        yield Dimension(name, f"{name}[{condition if short else place}]", plain)
