"""MLflow's database is there as a whole or not at all, whenever its creation is killed."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import mlflow

from service.base.uris import build_sqlite_url
from service.tracking.new_database import create_database
from tests.commands import REPOSITORY
from tests.patience import wait_for

CREATE = """
import sys
from service.tracking.new_database import create_database
create_database(sys.argv[1])
"""


def count_tables(path: Path) -> int:
    try:
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as file:
            return len(file.execute("SELECT name FROM sqlite_master").fetchall())
    except sqlite3.Error:
        return 0


def test_a_kill_while_it_is_created_leaves_none_and_the_next_prints_nothing(tmp_path: Path) -> None:
    path = tmp_path / "mlflow.db"
    uri = build_sqlite_url(path)
    words = [sys.executable, "-c", CREATE, uri]
    process = subprocess.Popen(words, cwd=REPOSITORY, stderr=subprocess.DEVNULL)
    unfinished = tmp_path / ".mlflow.db.new" / "mlflow.db"
    wait_for(lambda: count_tables(unfinished) > 30, 60)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert not path.exists()
    done = subprocess.run(words, cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("", "")
    create_database(uri)
    assert not unfinished.parent.exists()
    assert [e.name for e in mlflow.MlflowClient(uri).search_experiments()] == ["Default"]


def test_only_a_database_in_a_file_is_created(tmp_path: Path) -> None:
    for uri in ("http://127.0.0.1:5000", "postgresql://db/mlflow", "sqlite:///:memory:"):
        create_database(uri)
    assert not list(tmp_path.iterdir())
