"""What cannot be written to a stream is written otherwise, or dropped and counted."""

from __future__ import annotations

import errno
import io
import json
import os
import sys

import pytest

from service.base.streams import SafeStream, fit_json, list_dropped, safe_streams


def _ascii() -> tuple[SafeStream, io.BytesIO]:
    raw = io.BytesIO()
    return SafeStream(io.TextIOWrapper(raw, encoding="ascii")), raw


def test_what_an_encoding_lacks_is_written_otherwise() -> None:
    stream, raw = _ascii()
    stream.write("0.1 ± 0.2 ← best, λ = 1, é, 😀, \ud800\n")
    stream.flush()
    assert raw.getvalue() == b"0.1 +/- 0.2 <- best, lambda = 1, \\u00e9, \\ud83d\\ude00, \\ud800\n"
    assert (stream.dropped, stream.reason) == (0, None)


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8", None])
def test_json_stays_the_same_json_in_every_encoding(encoding: str | None) -> None:
    values = {"λ é ← 😀": "\ud800 <-"}
    text = json.dumps(values, ensure_ascii=False)
    fitted = fit_json(text, encoding)
    fitted.encode(encoding or "ascii")
    assert json.loads(fitted) == values


def test_a_closed_pipe_is_silent_and_counted() -> None:
    reads, writes = os.pipe()
    os.close(reads)
    stream = SafeStream(os.fdopen(writes, "w", buffering=1))
    stream.write("one\n")
    stream.write("two\nthree\n")
    stream.flush()
    assert stream.dropped == 3
    assert stream.reason is not None
    assert stream.reason.startswith("BrokenPipeError")
    stream.close()  # what it buffered fails no more


def _failing(error: Exception) -> SafeStream:
    class Inner(io.StringIO):
        failing = True

        def write(self, text: str) -> int:
            if self.failing:
                raise error
            return super().write(text)

    return SafeStream(Inner())


@pytest.mark.parametrize(
    ("error", "over"),
    [
        (OSError(errno.EIO, "terminal"), False),
        (ValueError("I/O operation on closed file"), False),
        (OSError(errno.ENOSPC, "full"), True),
        (BlockingIOError(errno.EAGAIN, "busy"), True),
    ],
)
def test_a_full_disk_may_be_over_and_a_closed_terminal_is_not(error: Exception, over: bool) -> None:
    stream = _failing(error)
    stream.write("lost\n")
    stream._inner.failing = False  # type: ignore[attr-defined]  # of the test's own stream
    stream.write("later\n")
    assert stream.getvalue() == ("later\n" if over else "")
    assert stream.dropped == (1 if over else 2)


def test_prints_in_a_block_are_safe_and_the_streams_come_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    raw = io.BytesIO()
    narrow = io.TextIOWrapper(raw, encoding="ascii")
    monkeypatch.setattr(sys, "stdout", narrow)
    with safe_streams():
        print("é")
        with safe_streams():
            print("ü")
        assert list(list_dropped()) == []
    assert sys.stdout is narrow
    assert raw.getvalue() == b"\\u00e9\n\\u00fc\n"
