"""Creates MLflow's SQLite database: complete, or not at all.

MLflow creates its tables by dozens of migrations, which take seconds and are not transactional: a
process that was killed meanwhile would leave a database that no MLflow opens again.
"""

from __future__ import annotations

import shutil

import mlflow
from filelock import FileLock

from service.base.uris import build_sqlite_url, find_sqlite_path


def create_database(uri: str, artifact_root: str | None = None) -> None:
    """Create the database that the tracking URI names, if it is a SQLite file that does not exist.

    MLflow creates its experiment `Default` with it, whose artifacts are below ``artifact_root``.

    It is made in a folder beside it and then moved; a folder that a kill left is deleted first.
    """
    path = find_sqlite_path(uri)
    if path is None or path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_name(f".{path.name}.new")
    with FileLock(path.with_name(f".{path.name}.lock")):
        if path.exists():
            return
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir(mode=0o700)
        made = scratch / path.name
        if artifact_root is None:
            mlflow.MlflowClient(build_sqlite_url(made)).search_experiments(max_results=1)
        else:
            from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

            SqlAlchemyStore(build_sqlite_url(made), artifact_root)  # type: ignore[no-untyped-call]  # MLflow's
        made.replace(path)
        shutil.rmtree(scratch, ignore_errors=True)
