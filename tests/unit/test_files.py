"""Files are replaced whole; a torn last line is cut off."""

from __future__ import annotations

from pathlib import Path

import pytest

from service.base.files import drop_torn_line, replace_file, write_atomically


def test_a_file_is_replaced_and_nothing_else_is_left(tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    write_atomically(path, "old")
    write_atomically(path, "new λ")
    assert path.read_text(encoding="utf-8") == "new λ"
    assert list(tmp_path.iterdir()) == [path]


def test_a_writer_that_fails_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "last.pt"
    path.write_text("old")

    def fail() -> None:
        with replace_file(path, path.with_suffix(".tmp")) as temporary:
            assert temporary == tmp_path / "last.tmp"
            temporary.write_text("half of it")
            raise OSError("no space left")

    with pytest.raises(OSError, match="no space left"):
        fail()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("before", "after"), [(b"a\nb\n", b"a\nb\n"), (b"a\nhalf", b"a\n"), (b"half", b""), (b"", b"")]
)
def test_only_a_torn_last_line_is_cut_off(tmp_path: Path, before: bytes, after: bytes) -> None:
    path = tmp_path / "history.jsonl"
    drop_torn_line(path)
    assert not path.exists()
    path.write_bytes(before)
    drop_torn_line(path)
    assert path.read_bytes() == after
