"""Files that strangers wrote are opened below a trusted folder, and only as what they should be."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path, PurePath

import pytest

from service.base.errors import DamagedFileError
from service.base.untrusted_files import (
    append_untrusted,
    is_untrusted_file,
    open_untrusted,
    read_untrusted,
)
from tests.strange_files import STRANGE, Maker

FILE = PurePath("sweep", "trials", "best.pt")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "root" / "sweep" / "trials").mkdir(parents=True)
    return tmp_path / "root"


def test_a_plain_file_is_read_and_continued(root: Path) -> None:
    with pytest.raises(FileNotFoundError):
        open_untrusted(root, FILE, 10)
    with append_untrusted(root, FILE) as file:
        file.write(b"one")
    with append_untrusted(root, FILE) as file:
        file.write(b"two")
    assert (root / FILE).stat().st_mode & 0o777 == 0o600
    assert read_untrusted(root, FILE, 6) == b"onetwo"
    assert is_untrusted_file(root, FILE)
    with open_untrusted(root, FILE, 6) as file:
        assert not os.get_inheritable(file.fileno())


def test_the_root_itself_may_be_a_link(root: Path, tmp_path: Path) -> None:
    (root / FILE).write_bytes(b"1")
    (tmp_path / "link").symlink_to(root)
    assert read_untrusted(tmp_path / "link", FILE, 1) == b"1"


@pytest.mark.parametrize("make", STRANGE.values(), ids=STRANGE)
def test_what_is_no_plain_file_is_refused_by_name_at_once(root: Path, make: Maker) -> None:
    make(root / FILE)
    with pytest.raises(DamagedFileError, match=r"^sweep/trials/best\.pt (is|has|cannot)"):
        open_untrusted(root, FILE, 2**20)
    assert not is_untrusted_file(root, FILE) or make is STRANGE["sparse"]


@pytest.mark.parametrize("name", ["link", "hard link", "pipe", "folder", "socket"])
def test_nothing_is_appended_to_what_is_no_plain_file(root: Path, name: str) -> None:
    STRANGE[name](root / FILE)
    with pytest.raises(DamagedFileError, match=r"^sweep/trials/best\.pt (is|has|cannot)"):
        append_untrusted(root, FILE)


@pytest.mark.parametrize("depth", [1, 2])
@pytest.mark.parametrize("absolute", [True, False])
def test_no_folder_on_the_way_may_be_a_link(
    root: Path, tmp_path: Path, depth: int, absolute: bool
) -> None:
    place = root.joinpath(*FILE.parts[:depth])
    moved = tmp_path / "elsewhere"
    place.rename(moved)
    target = moved if absolute else Path(os.path.relpath(moved, place.parent))
    place.symlink_to(target)
    moved.joinpath(*FILE.parts[depth:]).write_bytes(b"secret")
    for attempt in (
        lambda: read_untrusted(root, FILE, 100),
        lambda: append_untrusted(root, FILE),
    ):
        with pytest.raises(DamagedFileError, match=f"^{PurePath(*FILE.parts[:depth])} is a link"):
            attempt()
    assert not is_untrusted_file(root, FILE)


def test_a_file_in_the_place_of_a_folder_is_named(root: Path) -> None:
    (root / "sweep" / "trials").rmdir()
    (root / "sweep" / "trials").write_bytes(b"")
    with pytest.raises(DamagedFileError, match=r"^sweep/trials is a file and no folder"):
        open_untrusted(root, FILE, 1)


@pytest.mark.parametrize("wrong", ["/etc/passwd", "../secret", "sweep/../../secret"])
def test_a_path_that_leaves_the_folder_is_a_mistake_of_the_caller(root: Path, wrong: str) -> None:
    with pytest.raises(ValueError, match="not a path below"):
        open_untrusted(root, PurePath(wrong), 1)


def test_a_file_that_grows_while_it_is_read_is_bounded(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (root / FILE).write_bytes(b"123")
    really = os.fdopen

    def grow(found: int, *rest: str) -> object:
        file = really(found, *rest)  # type: ignore[call-overload]  # passes on what it was given
        (root / FILE).write_bytes(b"1" * 3 + b"2" * 100)
        return file

    small = (root / FILE).stat()
    monkeypatch.setattr(os, "fstat", lambda _: small)
    monkeypatch.setattr(os, "fdopen", grow)
    with pytest.raises(DamagedFileError, match="more than 10 bytes"):
        read_untrusted(root, FILE, 10)


def test_no_descriptor_is_left_open(root: Path) -> None:
    makers: list[Callable[[Path], object]] = [*STRANGE.values(), lambda _: None]
    open_now = Path("/proc/self/fd")
    before = len(list(open_now.iterdir()))
    for number, make in enumerate(makers):
        file = PurePath("sweep", "trials", str(number))
        kept = make(root / file)
        for attempt in (read_untrusted, open_untrusted):
            with pytest.raises((DamagedFileError, FileNotFoundError)):
                attempt(root, file, 10)
        is_untrusted_file(root, file)
        if isinstance(kept, socket.socket):
            kept.close()
    assert len(list(open_now.iterdir())) == before


def test_a_small_file_takes_little_memory_whatever_the_limit(tmp_path: Path) -> None:
    (tmp_path / "small").write_bytes(b"few")
    assert read_untrusted(tmp_path, PurePath("small"), 2**40) == b"few"
