#!/opt/venv/bin/python
"""Before the stack's parts start: both databases up to date, and a first admin with a token."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine

SECRETS = Path("/secrets/env")
CLI = Path("/secrets-of/cli/env")


def main() -> None:
    """All of it; what is done already is left alone."""
    run("gapsweep", "migrate")
    upgrade_mlflow(os.environ["MLFLOW_BACKEND_STORE_URI"])
    if "GAPSWEEP_TOKEN=" not in SECRETS.read_text(encoding="utf-8"):
        added = run("gapsweep", "users", "add", "admin", "--role", "admin", "--no-expiry")
        for place in (SECRETS, CLI):  # both files are there, and readable by their owner only
            with place.open("a", encoding="utf-8") as file:
                file.write(f"GAPSWEEP_TOKEN={added.strip()}\n")


def upgrade_mlflow(url: str) -> None:
    """An empty database is left to MLflow's server, which fills it."""
    found, wanted = revisions(url)
    if found not in (None, wanted):
        print(f"bringing MLflow's database from {found} to {wanted}", flush=True)
        run("mlflow", "db", "upgrade", url)


def revisions(url: str) -> tuple[str | None, str | None]:
    """MLflow's schema as the database has it, and as this MLflow wants it."""
    package = importlib.util.find_spec("mlflow")
    assert package is not None
    assert package.origin is not None
    configuration = Config()
    migrations = Path(package.origin).parent / "store" / "db_migrations"
    configuration.set_main_option("script_location", str(migrations))
    with create_engine(url).connect() as connection:
        found = MigrationContext.configure(connection).get_current_revision()
    return found, ScriptDirectory.from_config(configuration).get_current_head()


def run(*words: str) -> str:
    """Its output; what it says of an error has gone to stderr already, in words."""
    done = subprocess.run(words, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        sys.exit(
            f"error {words[0]} {words[1]} failed, see above. Where the volumes `database` and "
            "`secrets` do not belong together, docker/restore brings both back from a backup"
        )
    return done.stdout


main()
