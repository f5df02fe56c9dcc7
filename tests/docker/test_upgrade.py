"""A stack of version 0.1.0, as its `docker/backup` wrote it, is restored and opened by this one.

The volumes are those of that version's home and database (``tests/data/service_home_0_1_0``), whose
trials run on Ray here, as a stack's do.
"""

from __future__ import annotations

import io
import json
import secrets
import subprocess
import tarfile
from pathlib import Path

import pytest

from tests.commands import gapsweep
from tests.docking import Docked
from tests.patience import wait_for

pytestmark = pytest.mark.docker

RELEASED = Path(__file__).parents[1] / "data" / "service_home_0_1_0"
TOKEN = (RELEASED / "token").read_text().strip()
LOCAL, ON_RAY = "executor: local", "executor: ray"


def write_backup(stack: Docked, file: Path) -> None:
    """What `docker/backup` of 0.1.0 wrote: both databases, and the three volumes in one archive."""
    sql = (RELEASED / "service.postgresql.sql").read_text().replace(LOCAL, ON_RAY)
    with tarfile.open(file, "w:gz") as backup:
        add(backup, "gapsweep.dump", dump(stack, sql))
        add(backup, "mlflow.dump", dump(stack, ""))  # its driver logged no runs
        add(backup, "files.tar", pack_volumes())


def pack_volumes() -> bytes:
    """`artifacts`, `data` and `secrets`, as they lie in the root of a container."""
    password, packed = secrets.token_hex(32), io.BytesIO()
    address = f"postgresql+psycopg://gapsweep:{password}@postgres"
    words = {
        "POSTGRES_PASSWORD": password,
        "RAY_AUTH_TOKEN": secrets.token_hex(32),
        "GAPSWEEP_DATABASE_URL": f"{address}/gapsweep",
        "MLFLOW_BACKEND_STORE_URI": f"{address}/mlflow",
    }
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for path in sorted(p for p in RELEASED.glob("sweeps/**/*") if p.is_file()):
            content = path.read_bytes()
            if path.name == "spec.yaml":
                content = content.replace(LOCAL.encode(), ON_RAY.encode())
            add(archive, f"data/{path.relative_to(RELEASED)}", content)
        env = "".join(f"{name}={value}\n" for name, value in words.items())
        add(archive, "secrets/env", env.encode())
    return packed.getvalue()


def add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    """Add a file that only its owner may read."""
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = len(content), 0o600
    archive.addfile(entry, io.BytesIO(content))


def dump(stack: Docked, sql: str) -> bytes:
    """A database with what the statements make, by the `pg_dump` of the stack's PostgreSQL."""
    words = "createdb -U gapsweep old && psql -q -U gapsweep -d old -v ON_ERROR_STOP=1 >&2 && "
    words += "pg_dump -U gapsweep --format=custom old && dropdb -U gapsweep old"
    inside = ["docker", "exec", "-i", stack.container("postgres"), "sh", "-c", words]
    done = subprocess.run(inside, input=sql.encode(), capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


def test_a_stack_of_0_1_0_is_listed_reported_and_continued(stack: Docked, tmp_path: Path) -> None:
    """With a token of before; the sweep that was running has the trials of an undisturbed one."""
    file = tmp_path / "backup-0.1.0.tar.gz"
    write_backup(stack, file)
    stack.down("-v")
    done = stack.script("restore", str(file))
    assert done.returncode == 0, done.stderr
    stack.up(workers=1)
    env = {"GAPSWEEP_SERVER": stack.api, "GAPSWEEP_TOKEN": TOKEN}

    def ask(*words: str) -> str:
        answer = gapsweep(*words, env=env)
        assert answer.returncode == 0, answer.stderr
        return answer.stdout

    def states() -> dict[str, str]:
        return {s["sweep_id"]: s["state"] for s in json.loads(ask("list", "--json"))["items"]}

    assert states().keys() == {"digits-1", "digits-2"}
    assert states()["digits-1"] == "succeeded"
    assert "digits-1" in ask("report", "digits-1")
    ask("download", "digits-1", "--to", str(tmp_path / "best.pt"))
    assert (tmp_path / "best.pt").stat().st_size
    wait_for(lambda: states()["digits-2"] in ("succeeded", "failed"), 180)
    assert states()["digits-2"] == "succeeded", ask("status", "digits-2", "--json")
    whole, continued = (json.loads(ask("trials", s, "--json")) for s in ("digits-1", "digits-2"))
    assert [(t["params"], t["value"]) for t in continued] == [
        (t["params"], t["value"]) for t in whole
    ]
