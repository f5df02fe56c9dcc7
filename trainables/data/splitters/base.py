"""What a splitter is: the rule by which rows become test, validation and training rows."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np

from trainables.data.raw import Array, Indices
from trainables.errors import DataError


@dataclass(frozen=True)
class Cases:
    """What a splitter knows of the rows that it divides.

    Attributes:
        count: the number of rows.
        classes: the class of each row; None unless each row has one.
        by: the row's value in the column that the spec names as ``by``; None without one.
    """

    count: int
    classes: Array | None = None
    by: Array | None = None


def get_by(cases: Cases) -> Array:
    """The values that rows are divided by.

    Raises:
        ValueError: there are none; the spec's model of a splitter requires them.
    """
    if cases.by is None:
        raise ValueError("this splitter needs the values of a column")
    return cases.by


@dataclass(frozen=True)
class Draw:
    """Which of many divisions a splitter makes.

    Replicate 0 is the search's division; the others divide anew. The same draw of the same rows
    always gives the same division.
    """

    seed: int
    replicate: int = 0

    @property
    def number(self) -> int:
        """A seed of its own for each replicate, below 2³²; ``seed`` itself for replicate 0."""
        if not self.replicate:
            return self.seed
        return int(np.random.SeedSequence([self.seed, self.replicate]).generate_state(1)[0])


class Splitter(ABC):
    """The rule of a division. It sees classes and one column, never inputs.

    Where ``by_contents`` is true, the column is a number that only equal samples share.
    """

    by_contents: bool = False

    @abstractmethod
    def hold_out(self, cases: Cases, share: float, draw: Draw) -> tuple[Indices, Indices]:
        """Positions of the rows that stay, and of those that are held out, ``share`` of all.

        A division calls it for the test rows first, and then on the rows that stayed for the
        validation rows. Rows may be in neither.

        Raises:
            DataError: these rows cannot be divided.
        """

    def choose_validation(self, cases: Cases, share: float, draw: Draw) -> tuple[Indices, Indices]:
        """Positions of the training rows and the validation rows, of rows that are not the test's.

        Raises:
            DataError: these rows cannot be divided.
        """
        return self.hold_out(cases, share, draw)

    def divide_into(self, cases: Cases, folds: int, number: int) -> list[Indices]:
        """Positions of the rows of each fold; ``number`` is a seed.

        Raises:
            DataError: these rows cannot be divided so, or this rule has no folds.
        """
        raise DataError(
            f"{type(self).__name__} has no folds; define `divide_into(cases, folds, number)`, "
            "which returns the positions of each fold's rows"
        )

    def list_folds(
        self, cases: Cases, folds: int, share: float, draw: Draw
    ) -> list[tuple[Indices, Indices]]:
        """Training and validation rows of each fold of a cross-validated search.

        Every row is validated on once, unless a rule says otherwise; ``share`` is that of
        validation rows where training and validation rows are divided once.

        Raises:
            DataError: as :meth:`divide_into`.
        """
        del share
        every = np.arange(cases.count)
        held = [np.sort(rows) for rows in self.divide_into(cases, folds, draw.number)]
        return [(np.setdiff1d(every, rows), rows) for rows in held]

    def read(self, by: Array, column: str) -> Array:
        """The values of the column ``by`` as :meth:`hold_out` gets them.

        Raises:
            DataError: the column's values cannot be used.
        """
        return by

    def check(self, cases: Cases, parts: int) -> None:  # noqa: B027  # optional
        """Check that rows can be divided into this number of parts at all.

        Raises:
            DataError: they cannot; the message says what is missing.
        """

    def check_replicates(self, cases: Cases, share: float, count: int) -> None:  # noqa: B027  # optional
        """Check that there are ``count`` divisions beside the search's.

        Raises:
            DataError: there are fewer.
        """

    def set_aside(self, cases: Cases, parts: Array, share: float, draw: Draw) -> Indices:
        """Test rows of data that came divided; ``parts`` has the number of each row's part.

        Raises:
            DataError: these rows cannot be divided.
        """
        del parts
        return self.hold_out(cases, share, draw)[1]
