"""How a person names a sweep: the same words on this machine and on a server."""

from __future__ import annotations

import pytest

from service.base.errors import SweepNotFoundError
from service.base.sweep_ids import resolve_sweep

IDS = ("digits-1a", "digits-1b", "wine-2", "wine-2-long")


@pytest.mark.parametrize(
    ("reference", "meant"),
    [
        ("latest", "wine-2-long"),
        ("digits-1a", "digits-1a"),
        ("wine-2", "wine-2"),
        ("wine-2-", "wine-2-long"),
    ],
)
def test_an_id_its_beginning_and_latest_name_a_sweep(reference: str, meant: str) -> None:
    assert resolve_sweep(reference, IDS, "here") == meant


@pytest.mark.parametrize(
    ("reference", "ids", "words"),
    [
        ("digits", IDS, "several sweeps here begin with 'digits': digits-1a, digits-1b"),
        ("cifar", IDS, "no sweep 'cifar' here; known: digits-1a, digits-1b, wine-2, wine-2-long"),
        ("", IDS, "no sweep '' here; known: digits-1a, digits-1b, wine-2, wine-2-long"),
        ("latest", (), "no sweep 'latest' here; known: none yet"),
    ],
)
def test_none_and_several_are_refused_with_those_there_are(
    reference: str, ids: tuple[str, ...], words: str
) -> None:
    with pytest.raises(SweepNotFoundError) as caught:
        resolve_sweep(reference, ids, "here")
    assert str(caught.value) == words


def test_of_many_the_newest_are_listed() -> None:
    with pytest.raises(SweepNotFoundError, match=r"known: s10, .*, s19$"):
        resolve_sweep("x", [f"s{n}" for n in range(20)], "here")
