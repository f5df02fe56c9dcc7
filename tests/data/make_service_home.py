"""Makes a small home of a service, as a release of gapsweep writes it, for the tests of the next.

    git worktree add /tmp/released TAG
    cp tests/data/make_service_home.py /tmp/released/tests/data/
    cd /tmp/released && python -m tests.data.make_service_home DIR

``DIR`` gets ``service.sql`` (the SQLite database as text), ``service.postgresql.sql`` (the same
rows in PostgreSQL, by ``pg_dump``), ``token`` (ann's, of a service that no longer exists), and the
folders of two sweeps: ``digits-1``, which succeeded, and ``digits-2``, whose driver was killed.
With ``--only-postgresql`` the dump is added to a ``DIR`` that was made before.
"""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import yaml
from sqlalchemy import create_engine, insert, select, text

from service.base.ports import find_free_port
from service.client.job_states import JobState
from service.server.driver_access import Handover
from service.server.store.database import Database
from service.server.store.job_records import Submission
from service.server.store.tables import Base
from service.server.store.user_roles import UserRole
from service.server.store.user_store import UserStore
from service.server.sweep_service import ServiceSettings, SweepService
from service.sweep.home import Home
from tests.databases import postgres
from tests.drivers import api_over_http

SPEC: dict[str, Any] = {
    "name": "digits",
    "trainable": "trainables.models:MLP",
    "data": {"name": "breast_cancer"},
    "model": {"hidden": [4]},
    "training": {"max_epochs": 3, "lr": 0.01},
    "space": {"dropout": {"float": [0.0, 0.6]}},
    "search": {"sampler": "random", "pruner": "none", "seed": 3},
    "budget": {"trials": 5},
    "confirm": "off",
    "resources": {"executor": "local", "concurrent": 1},
}
DRIVER = """
import sys
from service.cluster import connection
own = connection.Cluster
connection.Cluster = lambda _: own(None)
from service.server.driver import main
sys.exit(main(sys.argv[1:]))
"""
"""A driver whose trials run in its own process, without a cluster."""
_INSTALLED = Path(__file__).parents[2]


def start_driver(home: Path, sweep_id: str, attempt: int) -> subprocess.Popen[bytes]:
    """Start the driver of an attempt."""
    words = [sys.executable, "-c", DRIVER, sweep_id, "--attempt", str(attempt), "--home", str(home)]
    env = {**os.environ, "OMP_NUM_THREADS": "1", "GAPSWEEP_MLFLOW_URI": "off"}
    return subprocess.Popen(words, env=env)


def make(folder: Path) -> None:
    """Make the home in a temporary folder, and write what is kept of it."""
    with tempfile.TemporaryDirectory() as scratch:
        home = Path(scratch)
        url = f"sqlite:///{home / 'service.db'}"
        database = Database(url)
        database.upgrade()
        service = SweepService(ServiceSettings(database_url=url, home=home), database)
        token = UserStore(database).create_or_update("ann", UserRole.USER)
        port = find_free_port()
        with api_over_http(service, port) as api:
            for sweep_id, kills in (("digits-1", False), ("digits-2", True)):
                _run(service, Handover(home, service.sweep_tokens, api, "off"), sweep_id, kills)
        database.close()
        _write(home, folder, token)


def _run(service: SweepService, handover: Handover, sweep_id: str, kills: bool) -> None:
    text = yaml.safe_dump(SPEC)
    service.sweeps.submit(Submission(sweep_id=sweep_id, name="digits", owner="ann", spec=text))
    job = service.sweeps.change(sweep_id, JobState.STARTING, "selected", "queue", attempt=1)
    handover.give(job)
    driver = start_driver(service.settings.home, sweep_id, 1)
    if kills:
        while sum(t.state.has_ended for t in service.progress.trials(sweep_id)) < 2:
            assert driver.poll() is None, "the driver ended before it was killed"
            time.sleep(0.01)
        driver.send_signal(signal.SIGKILL)
    driver.wait()


def _write(home: Path, folder: Path, token: str) -> None:
    folder.mkdir(parents=True)
    with closing(sqlite3.connect(home / "service.db")) as database:
        (folder / "service.sql").write_text("\n".join(database.iterdump()) + "\n")
    (folder / "token").write_text(f"{token}\n")
    for sweep in Home(home).list_all():
        kept = shutil.ignore_patterns("report.html", "lock", "*.png")
        copy = folder / "sweeps" / sweep.sweep_id
        shutil.copytree(sweep.path, copy, ignore=kept)
        code = (copy / "code.json").read_text().replace(str(_INSTALLED), "/installed")
        (copy / "code.json").write_text(code)


def dump_postgresql(folder: Path) -> None:
    """Bring the rows of ``service.sql`` into a PostgreSQL database, and dump that."""
    with tempfile.TemporaryDirectory() as scratch, postgres() as url:
        path = Path(scratch, "service.db")
        with closing(sqlite3.connect(path)) as database:
            database.executescript((folder / "service.sql").read_text())
        target = Database(url)
        target.upgrade()
        source = create_engine(f"sqlite:///{path}")
        with source.connect() as reading, target.writing() as writing:
            for table in Base.metadata.sorted_tables:
                rows = [dict(row) for row in reading.execute(select(table)).mappings()]
                if rows:
                    writing.execute(insert(table), rows)
                if "id" in table.c and table.c.id.type.python_type is int:
                    last = f"SELECT setval(pg_get_serial_sequence('{table.name}', 'id'), max(id))"
                    writing.execute(text(f"{last} FROM {table.name} HAVING max(id) IS NOT NULL"))
        target.close()
        plain = url.replace("+psycopg", "")
        words = ["pg_dump", "--inserts", "--no-owner", "--no-privileges", plain]
        dumped = subprocess.run(words, check=True, capture_output=True, text=True).stdout
    lines = [x for x in dumped.splitlines() if not x.startswith(("\\", "--")) and x.strip()]
    (folder / "service.postgresql.sql").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    if "--only-postgresql" not in sys.argv:
        make(Path(sys.argv[1]))
    dump_postgresql(Path(sys.argv[1]))
