"""A folder's size: what counts, what does not, and where measuring ends."""

from __future__ import annotations

import os
from pathlib import Path

from service.base.folder_size import FolderSize, measure_folder


def test_regular_files_count_once_and_links_are_not_followed(tmp_path: Path) -> None:
    folder, elsewhere = tmp_path / "sweep", tmp_path / "elsewhere"
    (folder / "trials").mkdir(parents=True)
    elsewhere.mkdir()
    (elsewhere / "large").write_bytes(bytes(10_000))
    (folder / "a").write_bytes(bytes(100))
    (folder / "trials" / "b").write_bytes(bytes(20))
    os.link(folder / "a", folder / "second name")
    (folder / "link").symlink_to(elsewhere)
    (folder / "file link").symlink_to(elsewhere / "large")
    (folder / "around").symlink_to(folder)
    os.mkfifo(folder / "pipe")
    assert measure_folder(folder) == FolderSize(120)


def test_a_folder_that_is_a_link_or_not_there_has_nothing(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "file").write_bytes(bytes(10))
    (tmp_path / "link").symlink_to(tmp_path / "real")
    assert measure_folder(tmp_path / "link") == FolderSize(0)
    assert measure_folder(tmp_path / "missing") == FolderSize(0)


def test_measuring_ends_after_so_many_entries(tmp_path: Path) -> None:
    for number in range(20):
        (tmp_path / str(number)).write_bytes(bytes(1))
    assert measure_folder(tmp_path, most=5) == FolderSize(5, complete=False)
    assert measure_folder(tmp_path, most=20) == FolderSize(20)
