"""A forked process is as if it had been started by itself, and ends with the one that asks."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from service.cluster import start_worker
from service.cluster.fork_server import OF_DRIVERS, OF_WORKERS, heed_threads
from service.cluster.start_worker import EXIT, FORK_SERVER, LENGTH, RAYS_OWN, STARTED, run_forked
from service.server import driver
from tests.commands import REPOSITORY
from tests.patience import patience, wait_for
from tests.rays import pids, read

SCRIPT = """
import json, os, sys, time
import extra
found = {
    "argv": sys.argv, "folder": os.getcwd(), "variable": os.environ.get("GAPSWEEP_TEST_A"),
    "path": sys.path[0], "extra": extra.VALUE, "torch": "torch" in sys.modules,
    "ray": "ray" in sys.modules, "main": __name__, "pid": os.getpid(),
    "missing": [name for name in os.environ["NAMES"].split() if name not in sys.modules],
    "retries": os.environ.get("MLFLOW_HTTP_REQUEST_MAX_RETRIES"),
    "inherited": os.environ.get("GAPSWEEP_TEST_SERVER"),
}
print(json.dumps(found), flush=True)
time.sleep(float(sys.argv[1]))
sys.exit(7)
"""
OWNER = """
import sys
from service.cluster.fork_server import OF_DRIVERS, run_fork_server
with run_fork_server(*OF_DRIVERS) as path:
    print(path, flush=True)
    sys.stdin.read()
"""


def unset_by_imports() -> dict[str, str]:
    """The environment without what imports of ours set in it, in this process too."""
    return {n: value for n, value in os.environ.items() if not n.startswith("MLFLOW_")}


@pytest.fixture(scope="module")
def owner() -> Iterator[subprocess.Popen[str]]:
    """A process that has a server."""
    with subprocess.Popen(
        [sys.executable, "-c", OWNER],
        cwd=REPOSITORY,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**unset_by_imports(), "GAPSWEEP_TEST_SERVER": str(os.getpid())},
    ) as process:
        yield process
        process.kill()


@pytest.fixture(scope="module")
def server(owner: subprocess.Popen[str]) -> str:
    """The path of its socket."""
    assert owner.stdout is not None
    return owner.stdout.readline().strip()


@pytest.fixture
def script(tmp_path: Path) -> Path:
    """What is named as Ray's script of a worker is, and a module that only PYTHONPATH leads to."""
    (tmp_path / "modules").mkdir()
    (tmp_path / "modules" / "extra.py").write_text("VALUE = 3")
    path = tmp_path / "some_worker.py"
    path.write_text(SCRIPT)
    return path


def start(script: Path, server: str, seconds: float = 0.0, **more: str) -> subprocess.Popen[str]:
    """The script that Ray starts, for a command of a worker."""
    added = {
        FORK_SERVER: server,
        RAYS_OWN: "/none.py",
        "GAPSWEEP_TEST_A": "1",
        "NAMES": " ".join((*OF_WORKERS, *OF_DRIVERS)),
        "PYTHONPATH": str(script.parent / "modules"),
        **more,
    }
    return subprocess.Popen(
        [sys.executable, start_worker.__file__, str(script), str(seconds), "--language=PYTHON"],
        cwd=script.parent,
        stdout=subprocess.PIPE,
        text=True,
        env={**unset_by_imports(), **added},
    )


def test_it_has_the_streams_the_words_the_variables_and_the_folder_of_the_one_that_asks(
    script: Path, server: str
) -> None:
    asking = start(script, server)
    found = json.loads(asking.communicate(timeout=patience(60))[0])
    assert asking.returncode == 7
    assert found.pop("pid") != asking.pid
    assert found == {
        "argv": [str(script), "0.0"],
        "folder": str(script.parent),
        "variable": "1",
        "path": str(script.parent),
        "extra": 3,
        "torch": True,
        "ray": False,
        "missing": [],
        "retries": "1",  # as service.tracking sets it where it is imported
        "main": "__main__",
        "inherited": None,
    }


def test_what_the_server_had_open_is_closed_before_its_numbers_are_used_again(
    script: Path, server: str
) -> None:
    """Where garbage is looked for late: a descriptor was another file's by then."""
    late = "import gc, tempfile\nfiles = [tempfile.TemporaryFile() for _ in range(40)]\n"
    late += "gc.collect()\nfor file in files:\n    file.write(b'1')\n    file.flush()\n"
    script.write_text(f"import gc\ngc.disable()\n{late}{SCRIPT}")
    asking = start(script, server)
    asking.communicate(timeout=patience(60))
    assert asking.returncode == 7


def test_the_folder_of_its_script_is_not_searched_where_that_is_unsafe(
    script: Path, server: str
) -> None:
    asking = start(script, server, PYTHONSAFEPATH="1")
    found = json.loads(asking.communicate(timeout=patience(60))[0])
    assert found["torch"]
    assert found["path"] == str(script.parent / "modules")


@contextmanager
def default(number: signal.Signals) -> Iterator[None]:
    """A process that is started here gets the signal, though tests in the background ignore it."""
    before = signal.signal(number, signal.SIG_DFL)
    try:
        yield
    finally:
        signal.signal(number, before)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_to_the_one_that_asks_is_its_own(
    script: Path, server: str, number: signal.Signals
) -> None:
    """And its exit code is that of the one that asks."""
    catch = "import signal\n\ndef stop(number, _):\n    sys.exit(20 + number)\n\n"
    catch += f"signal.signal({int(number)}, stop)\n"
    script.write_text(SCRIPT.replace("found = {", f"{catch}found = {{", 1))
    with default(number):
        asking = start(script, server, 600)
    assert asking.stdout is not None
    assert json.loads(asking.stdout.readline())["torch"]
    asking.send_signal(number)
    assert asking.wait(patience(30)) == 20 + number


def test_it_ends_with_the_one_that_asks(script: Path, server: str) -> None:
    asking = start(script, server, 600)
    assert asking.stdout is not None
    pid = json.loads(asking.stdout.readline())["pid"]
    asking.send_signal(signal.SIGKILL)
    asking.wait()
    wait_for(lambda: pid not in pids(), 10)


def test_a_process_whose_path_has_another_library_is_not_forked(
    script: Path, server: str, tmp_path: Path
) -> None:
    (tmp_path / "modules" / "torch.py").write_text("")
    found = json.loads(start(script, server).communicate(timeout=patience(60))[0])
    assert not found["torch"]


def start_driver(server: Path, *words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "service.server.start_driver", *words],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, FORK_SERVER: str(server)},
    )


def test_a_forked_process_uses_as_many_threads_as_its_environment_says(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = torch.get_num_threads()
    monkeypatch.setenv("OMP_NUM_THREADS", str(before + 1))
    heed_threads()
    used = torch.get_num_threads()
    torch.set_num_threads(before)
    assert used == before + 1


def test_a_driver_is_forked(tmp_path: Path) -> None:
    """By a server that only says so."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "server"))
        listener.listen()
        starting = start_driver(tmp_path / "server", "digits-1", "--attempt", "2")
        asking, _ = listener.accept()
        with asking, asking.makefile("rb") as file:
            words, environment, _ = json.loads(file.read(*LENGTH.unpack(file.read(LENGTH.size))))
            asking.sendall(STARTED.pack(os.getpid()) + EXIT.pack(5))
    assert starting.wait(patience(30)) == 5
    assert words == [driver.__file__, "digits-1", "--attempt", "2"]
    assert environment["PATH"] == os.environ["PATH"]


def test_a_driver_starts_by_itself_where_no_server_answers(tmp_path: Path) -> None:
    starting = start_driver(tmp_path / "none", "--help")
    said, _ = starting.communicate(timeout=patience(60))
    assert (starting.returncode, said.split()[:4]) == (
        0,
        ["usage:", "python", "-m", "service.server.start_driver"],
    )


def test_without_a_server_nothing_is_forked(script: Path, tmp_path: Path) -> None:
    words = [sys.executable, str(script), "0"]
    assert run_forked(words, {}) is None
    assert run_forked(words, {FORK_SERVER: str(tmp_path / "none")}) is None
    assert run_forked([sys.executable, "other.py"], {FORK_SERVER: str(tmp_path / "none")}) is None


def test_the_server_and_what_it_forked_end_with_its_owner(
    owner: subprocess.Popen[str], server: str, script: Path
) -> None:
    asking = start(script, server, 600)
    assert asking.stdout is not None
    pid = json.loads(asking.stdout.readline())["pid"]
    mark = f"GAPSWEEP_TEST_SERVER={os.getpid()}\0".encode()
    own = [p for p in pids() if mark in read(p, "environ")]
    assert {owner.pid, pid} < set(own)  # and the server
    owner.send_signal(signal.SIGKILL)
    owner.wait()
    wait_for(lambda: not [p for p in own if read(p, "cmdline")], 10)
    assert asking.wait(patience(10)) == 1
