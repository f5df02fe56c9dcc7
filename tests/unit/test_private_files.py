"""A service's files are its account's only, unless its home is shared by a group."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from service.base.private_files import keep_private


@pytest.fixture(autouse=True)
def usual_umask() -> Iterator[None]:
    before = os.umask(0o022)
    yield
    os.umask(before)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def write(home: Path) -> tuple[int, int]:
    (home / "new").mkdir()
    (home / "new" / "file").touch()
    return mode(home / "new"), mode(home / "new" / "file")


def test_a_home_of_an_older_version_is_closed(tmp_path: Path) -> None:
    home = tmp_path / "home"
    (home / "bundles").mkdir(parents=True)
    (home / "mlflow.db").touch()
    (home / "link").symlink_to(tmp_path)
    before = mode(tmp_path)
    keep_private(home)
    assert [mode(home), mode(home / "bundles"), mode(home / "mlflow.db")] == [0o700, 0o700, 0o600]
    assert write(home) == (0o700, 0o600)
    assert mode(tmp_path) == before


def test_a_home_that_a_group_shares_stays_the_groups(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    home.chmod(0o2775)
    (home / "service.db").touch()
    (home / "service.db").chmod(0o664)
    keep_private(home)
    assert [mode(home), mode(home / "service.db")] == [0o2770, 0o660]
    assert [m & 0o777 for m in write(home)] == [0o770, 0o660]
