"""A sweep goes on whatever happens to those who watch it, and says at the end what they missed."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import signal
import subprocess
import termios
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gapsweep
import pytest

from service.report.progress import LineView
from service.run import sweep_session
from service.study.events import TrialEvent
from service.study.records import TrialState
from tests.commands import DIGITS, LOCAL, REPOSITORY, command, settings
from tests.contract.sweeps import BASE
from tests.patience import patience

TINY = settings("training.max_epochs=2", "budget.trials=3", "confirm=off", LOCAL)


def _spec(**changes: Any) -> dict[str, Any]:
    return {**BASE, "resources": {"executor": "local"}, **changes}


def _raise(error: BaseException) -> Callable[..., Any]:
    def method(*_: object, **__: object) -> Any:
        raise error

    return method


@pytest.fixture
def no_mlflow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GAPSWEEP_MLFLOW_URI", "off")


@pytest.mark.usefixtures("no_mlflow")
@pytest.mark.parametrize("error", [RuntimeError("no news"), SystemExit(1)])
def test_a_callback_that_raises_does_not_end_the_sweep(
    tmp_path: Path, error: BaseException
) -> None:
    heard: list[str] = []

    def on_event(event: TrialEvent) -> None:
        heard.append(event.kind)
        if event.kind != "epoch_ended":
            raise error

    with pytest.warns(UserWarning, match=r"not shown: on_event: trial 0, started.*3 more"):
        sweep = gapsweep.run(_spec(), home=tmp_path, progress=False, on_event=on_event)
    assert sweep.state == "succeeded"
    assert heard.count("epoch_ended") == 12
    assert heard.count("trial_ended") == 3
    (loss,) = json.loads(sweep.folder.summary.read_text())["losses"]
    assert (loss["place"], loss["count"]) == ("on_event", 6)
    assert type(error).__name__ in loss["reason"]


@pytest.mark.usefixtures("no_mlflow")
def test_a_view_a_report_and_a_summary_that_fail_do_not_end_the_sweep(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for method in ("__enter__", "begin", "ended", "__exit__"):
        monkeypatch.setattr(LineView, method, _raise(ValueError("no view")))
    monkeypatch.setattr(sweep_session, "write_report", _raise(ZeroDivisionError("no plot")))
    monkeypatch.setattr(sweep_session, "summarise", _raise(TypeError("no figures")))
    with pytest.warns(UserWarning, match="not shown") as caught:
        sweep = gapsweep.run(_spec(), home=tmp_path)
    assert [t.state for t in sweep.records()] == [TrialState.COMPLETE] * 3
    assert sweep.state == "succeeded"
    said = " ".join(str(w.message) for w in caught)
    for words in ("the progress display: the start", "no view", "report.html", "summary.json"):
        assert words in said


@pytest.mark.usefixtures("no_mlflow")
def test_a_hangup_does_not_end_the_sweep(tmp_path: Path) -> None:
    def hang_up(_: TrialEvent) -> None:
        os.kill(os.getpid(), signal.SIGHUP)

    before = signal.getsignal(signal.SIGHUP)
    sweep = gapsweep.run(_spec(), home=tmp_path, progress=False, on_event=hang_up)
    assert sweep.state == "succeeded"
    assert signal.getsignal(signal.SIGHUP) is before


def _state(home: Path) -> str:
    (summary,) = home.glob("sweeps/*/summary.json")
    state: str = json.loads(summary.read_text())["state"]
    return state


def _environment(**changes: str) -> dict[str, str]:
    return {**os.environ, "GAPSWEEP_MLFLOW_URI": "off", "OMP_NUM_THREADS": "1", **changes}


def test_a_pipe_that_is_closed_and_a_narrow_encoding_do_not_end_the_sweep(tmp_path: Path) -> None:
    process = subprocess.Popen(
        command("run", str(DIGITS), "--home", str(tmp_path), *TINY),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=REPOSITORY,
        env=_environment(PYTHONIOENCODING="ascii"),
    )
    assert process.stdout is not None
    lines = [process.stdout.readline() for _ in range(2)]
    process.stdout.close()
    assert process.stderr is not None
    said = process.stderr.read().decode()
    assert process.wait(patience(120)) == 0, said
    assert b"<- baseline" in lines[1]
    assert _state(tmp_path) == "succeeded"
    assert "not shown: standard output" in said
    assert "BrokenPipeError" in said
    assert "Traceback" not in said
    assert "Exception ignored" not in said


def test_a_terminal_that_is_closed_does_not_end_the_sweep(tmp_path: Path) -> None:
    ours, theirs = pty.openpty()

    def take_terminal() -> None:
        os.setsid()
        fcntl.ioctl(theirs, termios.TIOCSCTTY, 0)

    process = subprocess.Popen(
        command("run", str(DIGITS), "--home", str(tmp_path), *TINY, *settings("budget.trials=12")),
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        cwd=REPOSITORY,
        env=_environment(TERM="xterm"),
        preexec_fn=take_terminal,  # this process has no other threads yet
    )
    os.close(theirs)
    shown = b""
    while b"/12" not in shown:  # the bar's trials
        shown += os.read(ours, 4096)
    os.close(ours)
    assert process.wait(patience(120)) == 0
    assert _state(tmp_path) == "succeeded"
