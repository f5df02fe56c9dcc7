"""The command, with trials' runs written by MLflow's client where it would write them itself."""

from __future__ import annotations

import pytest

from service.cli import main
from service.tracking import mlflow_runs

if __name__ == "__main__":
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mlflow_runs, "find_sqlite_path", lambda _: None)
        main()
