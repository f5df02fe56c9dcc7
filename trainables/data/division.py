"""Which rows become training, validation and test rows, by the spec's splitter."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from trainables.config.data_info import Task
from trainables.data.raw import Indices, Raw, join
from trainables.data.splitters.base import Cases, Draw, Splitter
from trainables.errors import ContractError, DataError


def view(raw: Raw, task: Task) -> Cases:
    """What a splitter sees of these samples."""
    classes = raw.y.reshape(len(raw.y)) if has_classes(raw, task) else None
    return Cases(len(raw), classes, raw.by)


def has_classes(raw: Raw, task: Task) -> bool:
    """Whether every sample has one class."""
    is_array = isinstance(raw.y, np.ndarray)
    return task is Task.CLASSIFICATION and is_array and raw.y.size == len(raw.y)


def hold_out(
    splitter: Splitter, raw: Raw, task: Task, share: float, draw: Draw
) -> tuple[Indices, Indices]:
    """Positions of the samples that stay, and of those that are held out.

    Raises:
        DataError: these rows cannot be divided.
        ContractError: a user-defined splitter returned something else.
    """
    return _check_parts(splitter, splitter.hold_out(view(raw, task), share, draw), len(raw))


def choose_validation(
    splitter: Splitter, raw: Raw, task: Task, share: float, draw: Draw
) -> tuple[Indices, Indices]:
    """Positions of the training samples, and of the validation samples.

    Raises:
        DataError, ContractError: as :func:`hold_out`.
    """
    made = splitter.choose_validation(view(raw, task), share, draw)
    return _check_parts(splitter, made, len(raw))


def list_folds(
    splitter: Splitter, raw: Raw, task: Task, folds: int, share: float, draw: Draw
) -> list[tuple[Indices, Indices]]:
    """Positions of the training and validation samples of each fold of a search.

    Raises:
        DataError, ContractError: as :func:`hold_out`.
    """
    made = splitter.list_folds(view(raw, task), folds, share, draw)
    for number, (_, held) in enumerate(made, start=1):
        if not len(held):
            raise DataError(f"fold {number} of {folds} has no rows; set fewer folds")
    return [_check_parts(splitter, parts, len(raw)) for parts in made]


def _check_parts(
    splitter: Splitter, made: tuple[Indices, Indices], count: int
) -> tuple[Indices, Indices]:
    try:
        stay, held = (np.asarray(rows, dtype=np.int64) for rows in made)
    except (TypeError, ValueError) as error:
        raise ContractError(
            f"{type(splitter).__name__}.hold_out must return two arrays of positions: {error}"
        ) from None
    used = np.concatenate([stay, held])
    if not len(stay) or not len(held) or len(np.unique(used)) < len(used):
        raise ContractError(
            f"{type(splitter).__name__}.hold_out must return two parts, neither empty, that share "
            f"no row; it returned {len(stay)} and {len(held)} rows"
        )
    if used.min() < 0 or used.max() >= count:
        raise ContractError(f"{type(splitter).__name__}.hold_out named a row that does not exist")
    return stay, held


@dataclass(frozen=True)
class Shares:
    """Fractions of all rows for validation and test."""

    val: float
    test: float

    def __post_init__(self) -> None:
        if self.val <= 0 or self.test < 0 or self.val + self.test >= 1:
            raise DataError(
                "val must be above 0, test at least 0, and their sum below 1; "
                f"got val {self.val:g} and test {self.test:g}"
            )

    @property
    def val_of_rest(self) -> float:
        """The validation part as a share of the rows that are not for the test."""
        return self.val / (1 - self.test)


def set_test_aside(
    parts: Mapping[str, Raw], splitter: Splitter, task: Task, share: float, draw: Draw
) -> dict[str, Raw]:
    """Parts with test rows, which are taken from all of the given parts.

    Raises:
        DataError: a part would have no rows left.
    """
    names = list(parts)
    numbers = np.repeat(np.arange(len(names)), [len(p) for p in parts.values()])
    cases = view(join([Raw(p.y, p.y, p.by) for p in parts.values()]), task)
    held = np.zeros(len(numbers), dtype=bool)
    held[splitter.set_aside(cases, numbers, share, draw)] = True
    made: dict[str, Raw] = {}
    taken: list[Raw] = []
    for number, (name, part) in enumerate(parts.items()):
        mask = held[numbers == number]
        if mask.all():
            raise DataError(
                f"no row of {name!r} is left after test rows were set aside; return test rows, "
                "or set a smaller `test`, or `test: 0` for none"
            )
        made[name] = part.rows(np.flatnonzero(~mask))
        if mask.any():
            taken.append(part.rows(np.flatnonzero(mask)))
    if not taken:
        raise DataError(f"{len(numbers)} rows are too few to set test rows aside; set `test: 0`")
    return {**made, "test": join(taken)}


def check_training_part(train: Raw, others: Raw, task: Task, which: str) -> None:
    """Check that a training part can teach what the other rows need.

    Raises:
        DataError: it lacks a class, or one of its labels is constant.
    """
    if has_classes(train, task):
        _check_classes(train, others, which)
    if task is Task.MULTILABEL:
        constant = np.ptp(train.y.reshape(len(train.y), -1).astype(np.float32), axis=0) == 0
        if constant.any():
            raise DataError(
                f"{which}: label {int(constant.argmax())} is constant in the training part; add "
                "rows with its rare value, leave it out, or divide by another `split`"
            )


def _check_classes(train: Raw, others: Raw, which: str) -> None:
    known = np.unique(train.y)
    lacking = np.setdiff1d(np.unique(others.y), known)
    if len(lacking):
        count = int((others.y == lacking[0]).sum())
        raise DataError(
            f"{which}: the training part has no row of class {str(lacking[0])!r}, of which there "
            f"are {count}; add rows of this class, leave it out, or divide by another `split`"
        )
    if len(known) < 2:
        raise DataError(f"{which}: the training part has only one class; at least 2 are needed")
