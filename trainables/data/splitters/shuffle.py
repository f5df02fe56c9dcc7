"""Random divisions of rows, row for row those of scikit-learn's ``train_test_split``.

scikit-learn takes a second to import, in each process that trains. Older sweeps were divided by it.
"""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np

from trainables.data.raw import Array, Indices


def shuffle_apart(
    count: int, share: float, seed: int, classes: Array | None = None
) -> tuple[Indices, Indices]:
    """Positions of the rows that stay, and of a ``share`` of them that are held out.

    With ``classes``, one for each row, both have each class in the same proportion.

    Raises:
        ValueError: a part would be empty, or would lack a class.
    """
    held = math.ceil(share * count)
    stay = count - held
    if stay < 1:
        raise ValueError(f"none of them would stay if {held} were held out")
    rng = np.random.RandomState(seed)
    if classes is None:
        order: Indices = rng.permutation(count)
        return order[held:], order[:held]
    _, codes, counts = np.unique(classes, return_inverse=True, return_counts=True)
    if counts.min() < 2:
        raise ValueError("a class has one row only")
    for size in (stay, held):
        if size < len(counts):
            raise ValueError(f"a part of {size} lacks some of the {len(counts)} classes")
    kept = _share_out(counts, stay, rng)
    taken = _share_out(counts - kept, held, rng)
    parts: tuple[list[Indices], list[Indices]] = ([], [])
    rows = np.argsort(codes.reshape(-1), kind="stable")
    bounds = pairwise([0, *np.cumsum(counts)])
    for (start, end), first, second in zip(bounds, kept, taken, strict=True):
        shuffled = rows[start:end][rng.permutation(end - start)]
        parts[0].append(shuffled[:first])
        parts[1].append(shuffled[first : first + second])
    one, other = (rng.permutation(np.concatenate(part)) for part in parts)
    return one, other


def _share_out(counts: Indices, wanted: int, rng: np.random.RandomState) -> Indices:
    """How many rows of each class to take, in proportion to their numbers; ties are drawn."""
    exact = counts / counts.sum() * wanted
    shares = np.floor(exact)
    rest = exact - shares
    missing = int(wanted - shares.sum())
    for remainder in np.unique(rest)[::-1]:
        if missing <= 0:
            break
        (tied,) = np.where(rest == remainder)
        more = min(len(tied), missing)
        shares[rng.choice(tied, size=more, replace=False)] += 1
        missing -= more
    whole: Indices = shares.astype(np.int64)
    return whole
