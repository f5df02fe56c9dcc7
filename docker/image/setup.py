#!/opt/venv/bin/python
"""Before the stack's parts start: both databases up to date, and a first admin with a token."""

import importlib.util
import io
import os
import re
import subprocess
import sys
from contextlib import redirect_stdout
from pathlib import Path

from alembic.runtime.migration import MigrationContext
from sqlalchemy import create_engine

from service.cli import main as gapsweep

SECRETS = Path("/secrets/env")
CLI = Path("/secrets-of/cli/env")


def main() -> None:
    """All of it; what is done already is left alone."""
    run_gapsweep("migrate")
    upgrade_mlflow(os.environ["MLFLOW_BACKEND_STORE_URI"])
    if "GAPSWEEP_TOKEN=" not in SECRETS.read_text(encoding="utf-8"):
        added = run_gapsweep("users", "add", "admin", "--role", "admin", "--no-expiry")
        for place in (SECRETS, CLI):  # both files are there, and readable by their owner only
            with place.open("a", encoding="utf-8") as file:
                file.write(f"GAPSWEEP_TOKEN={added.strip()}\n")


def upgrade_mlflow(url: str) -> None:
    """An empty database is left to MLflow's server, which fills it."""
    found, wanted = find_revision(url), find_newest_revision()
    if found not in (None, wanted):
        print(f"bringing MLflow's database from {found} to {wanted}", flush=True)
        if subprocess.run(["mlflow", "db", "upgrade", url], check=False).returncode:
            sys.exit(explain("mlflow db"))


def find_revision(url: str) -> str | None:
    """MLflow's schema as the database has it."""
    with create_engine(url).connect() as connection:
        return MigrationContext.configure(connection).get_current_revision()


def find_newest_revision() -> str:
    """MLflow's schema as this MLflow wants it, found without importing MLflow."""
    package = importlib.util.find_spec("mlflow")
    assert package is not None
    assert package.origin is not None
    scripts = Path(package.origin).parent / "store" / "db_migrations" / "versions"
    words = [re.findall(r"^(\w+) = ['\"](\w+)", p.read_text(), re.M) for p in scripts.glob("*.py")]
    named = [dict(found) for found in words]
    before = {names.get("down_revision") for names in named}
    (newest,) = {names["revision"] for names in named if "revision" in names} - before
    return newest


def run_gapsweep(*words: str) -> str:
    """Its output; what it says of an error has gone to stderr already, in words."""
    sys.argv = ["gapsweep", *words]
    with redirect_stdout(io.StringIO()) as said:
        try:
            gapsweep()
        except SystemExit as end:
            if end.code:
                sys.exit(explain(f"gapsweep {words[0]}"))
    return said.getvalue()


def explain(command: str) -> str:
    """What a person may do about a command that has failed."""
    return (
        f"error {command} failed, see above. Where the volumes `database` and "
        "`secrets` do not belong together, docker/restore brings both back from a backup"
    )


if __name__ == "__main__":
    main()
