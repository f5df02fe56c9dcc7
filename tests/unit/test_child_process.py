"""Programs beside the service: started again when they die, ended with everything they started."""

from __future__ import annotations

import os
import signal
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from service.base.errors import ServerError
from service.cli.child_process import Child, Program, kill_session
from service.cli.local_stack import Ports, _plan_ray
from tests.patience import wait_for

PROGRAM = """
import os, pathlib, subprocess, sys, time
folder = pathlib.Path(sys.argv[1])
grandchild = subprocess.Popen(["sleep", "600"], process_group=0)
with (folder / "pids").open("a") as file:
    file.write(f"{os.getpid()} {grandchild.pid}\\n")
(folder / "ready").touch()
time.sleep(600)
"""


def planned(folder: Path, program: str = PROGRAM) -> Program:
    return Program(
        name="Thing",
        command=[sys.executable, "-c", program, str(folder)],
        environment={},
        log=folder / "thing.log",
        ready=(folder / "ready").exists,
        prepare=lambda: (folder / "ready").unlink(missing_ok=True),
    )


def pids(folder: Path) -> list[list[int]]:
    return [[int(w) for w in line.split()] for line in (folder / "pids").read_text().splitlines()]


def runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_it_is_started_again_and_said_and_leaves_nothing(tmp_path: Path) -> None:
    lines: list[str] = []
    with Child(planned(tmp_path), lines.append) as child:
        assert child.problem == "starting"
        child.wait_until_ready()
        assert child.problem is None
        ((first, grandchild),) = pids(tmp_path)
        os.kill(first, signal.SIGKILL)
        wait_for(lambda: child.problem == "starting again", 10)
        wait_for(lambda: child.problem is None, 20)
        assert len(pids(tmp_path)) == 2
        assert not runs(grandchild)
    assert not any(runs(pid) for pair in pids(tmp_path) for pid in pair)
    assert lines[0].startswith("Thing ended (killed by signal 9) and is started again; see ")
    assert lines[1:] == ["Thing answers again"]


def test_a_closed_terminal_does_not_stop_the_watch(tmp_path: Path) -> None:
    def closed(line: str) -> None:
        raise BrokenPipeError

    with Child(planned(tmp_path), closed) as child:
        child.wait_until_ready()
        os.kill(pids(tmp_path)[0][0], signal.SIGKILL)
        wait_for(lambda: len(pids(tmp_path)) == 2 and child.problem is None, 20)


def test_what_ends_at_its_start_is_an_error_with_its_log(tmp_path: Path) -> None:
    with (
        pytest.raises(ServerError, match=r"Thing did not start; see .*thing\.log"),
        Child(planned(tmp_path, "raise SystemExit('no')"), print) as child,
    ):
        child.wait_until_ready()
    assert (tmp_path / "thing.log").read_text() == "no\n"


def test_a_session_that_is_over_is_nothing_to_kill() -> None:
    kill_session(2**22 + 1)


WHERE = """
import pathlib, subprocess, sys
program = "import sys; print(sys.flags.safe_path, [p for p in sys.path if not p])"
words = [sys.executable, "-c", program]
said = subprocess.run(words, capture_output=True, text=True).stdout
pathlib.Path(sys.argv[1], "said").write_text(str(pathlib.Path.cwd()) + " " + said)
pathlib.Path(sys.argv[1], "ready").touch()
"""


def test_python_in_it_imports_nothing_from_where_it_was_started(tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    with Child(replace(planned(tmp_path, WHERE), folder=empty), lambda _: None) as child:
        child.wait_until_ready()
    assert (tmp_path / "said").read_text() == f"{empty} True []\n"


def test_ray_is_started_in_an_empty_folder(tmp_path: Path) -> None:
    program = _plan_ray(Ports(api=1, mlflow=2, ray=3), 1, tmp_path, tmp_path / "log")
    assert program.folder is not None
    assert list(program.folder.iterdir()) == []
    assert program.command[1] == "-P"
