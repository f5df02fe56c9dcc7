"""The command as it is installed, and that a command in the tests' process is the same command."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.commands import DIGITS, REPOSITORY, Done, gapsweep, settings
from tests.inside import Captured, as_a_process
from tests.patience import patience

MODULE = [sys.executable, "-m", "service.cli"]
SCRIPT = [str(Path(sys.executable).with_name("gapsweep"))]
INVALID = ("validate", str(DIGITS), *settings("training.optimzer=adam"))


@pytest.mark.parametrize("command", [MODULE, SCRIPT], ids=["module", "script"])
@pytest.mark.parametrize("words", [("--version",), INVALID, ("resume", "nothing")])
def test_a_process_answers_as_a_command_in_the_tests_does(
    command: list[str], words: tuple[str, ...]
) -> None:
    done = subprocess.run(
        [*command, *words],
        cwd=REPOSITORY,
        env={**os.environ, "COLUMNS": "80"},
        capture_output=True,
        text=True,
        timeout=patience(120),
    )
    assert Done(done.returncode, done.stdout, done.stderr) == gapsweep(*words)
    assert done.returncode == (0 if words == ("--version",) else 2)


def test_a_command_leaves_nothing_behind_in_the_tests_process(tmp_path: Path) -> None:
    (tmp_path / "left_behind.py").write_text("from torch.nn import Linear\n")
    spec = tmp_path / "spec.yaml"
    text = DIGITS.read_text(encoding="utf-8")
    spec.write_text(text.replace("trainables.models:MLP", "left_behind:Nothing"))
    before = (Path.cwd(), dict(os.environ), list(sys.argv), list(sys.path), sys.stdout, sys.stderr)
    done = gapsweep("validate", str(spec), env={"GAPSWEEP_HOME": str(tmp_path)})
    assert "'Nothing'" in done.stderr
    after = (Path.cwd(), dict(os.environ), list(sys.argv), list(sys.path), sys.stdout, sys.stderr)
    assert after == before
    assert "left_behind" not in sys.modules


def test_what_c_code_and_child_processes_write_is_captured_as_well() -> None:
    captured = Captured()
    with captured:
        print("python", flush=True)
        os.write(1, b"c\n")
        subprocess.run(["sh", "-c", "echo child >&2"], check=True)
    assert (captured.stdout, captured.stderr) == ("python\nc\n", "child\n")
    with captured:
        print("again")
    assert (captured.stdout, captured.stderr) == ("again\n", "")


def test_an_error_that_nobody_foresaw_is_a_traceback_and_exit_code_1(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail() -> None:
        raise RuntimeError("not foreseen")

    monkeypatch.setattr("service.cli.app", fail)
    done = gapsweep("list")
    assert (done.returncode, "RuntimeError: not foreseen" in done.stderr) == (1, True)


def test_the_arguments_and_the_folder_are_those_of_the_command(tmp_path: Path) -> None:
    with as_a_process(tmp_path, ["gapsweep", "list"], {"GAPSWEEP_HOME": "here"}):
        assert (Path.cwd(), sys.argv) == (tmp_path, ["gapsweep", "list"])
        assert os.environ["GAPSWEEP_HOME"] == "here"
    assert "GAPSWEEP_HOME" not in os.environ
