"""MLflow's artifacts: files below one folder; links, special files and other places are refused."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from mlflow.exceptions import MlflowException
from mlflow.store.artifact import artifact_repository_registry as registry

from service.tracking.confined_artifacts import ConfinedArtifacts, confine_artifacts

RUN = "1/r1/artifacts"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "home ?#%é" / "artifacts"
    (folder / RUN / "model").mkdir(parents=True)
    (folder / RUN / "report.html").write_text("a report")
    (folder / RUN / "model" / "best.pt").write_text("weights")
    (tmp_path / "secret").write_text("nobody's business")
    return folder


def opened(root: Path, run: str = RUN) -> ConfinedArtifacts:
    return ConfinedArtifacts((root / run).as_uri(), root)


def refused(act: Callable[[], object]) -> None:
    with pytest.raises(MlflowException) as error:
        act()
    assert error.value.error_code in {
        *("PERMISSION_DENIED", "INVALID_PARAMETER_VALUE", "RESOURCE_DOES_NOT_EXIST")
    }


def test_files_of_a_run_are_listed_read_and_written(root: Path, tmp_path: Path) -> None:
    artifacts = opened(root)
    assert [a.path for a in artifacts.list_artifacts()] == ["model", "report.html"]
    assert [a.path for a in artifacts.list_artifacts("model")] == ["model/best.pt"]
    assert Path(artifacts.get_local_path("report.html")).read_text() == "a report"
    (tmp_path / "new.txt").write_text("new")
    artifacts.log_artifact(str(tmp_path / "new.txt"), "more")
    assert (root / RUN / "more" / "new.txt").read_text() == "new"
    artifacts.delete_artifacts("more")
    assert not (root / RUN / "more").exists()


@pytest.mark.parametrize("place", ["/etc", "..", "elsewhere/../..", "../artifacts-2"])
def test_another_folder_is_refused(root: Path, place: str) -> None:
    root.with_name("artifacts-2").mkdir()
    folder = root / place
    for uri in (folder.as_uri(), str(folder)):
        refused(lambda uri=uri: ConfinedArtifacts(uri, root))  # type: ignore[misc]  # bound now


def test_links_are_not_followed_wherever_they_are(root: Path, tmp_path: Path) -> None:
    """As whoever may write into the folder leaves them: at a file, a run, an experiment."""
    run = root / RUN
    (run / "secret.txt").symlink_to(tmp_path / "secret")
    (run / "inside.txt").symlink_to(run / "report.html")
    (run / "broken").symlink_to(run / "nothing")
    (run / "folder").symlink_to(tmp_path)
    (root / "2").symlink_to(tmp_path)
    (root / "3").mkdir()
    (root / "3" / "r").symlink_to(tmp_path)
    artifacts = opened(root)
    for name in ("secret.txt", "inside.txt", "broken", "folder", "folder/secret"):
        refused(lambda name=name: artifacts.get_local_path(name))  # type: ignore[misc]  # bound now
        refused(lambda name=name: artifacts.list_artifacts(name))  # type: ignore[misc]  # bound now
        refused(lambda name=name: artifacts.delete_artifacts(name))  # type: ignore[misc]  # bound now
    refused(lambda: artifacts.log_artifact(str(run / "report.html"), "folder"))
    assert [a.path for a in artifacts.list_artifacts()] == ["model", "report.html"]
    for folder in ("2", "2/x", "3/r"):
        refused(lambda folder=folder: opened(root, folder))  # type: ignore[misc]  # bound now
    assert (tmp_path / "secret").exists()


def test_a_pipe_hangs_nobody(root: Path) -> None:
    os.mkfifo(root / RUN / "pipe")
    artifacts = opened(root)
    refused(lambda: artifacts.get_local_path("pipe"))
    refused(lambda: artifacts.download_artifacts("pipe", str(root)))
    assert "pipe" not in [a.path for a in artifacts.list_artifacts()]


def test_a_home_that_is_reached_through_a_link_is_the_home(root: Path, tmp_path: Path) -> None:
    """Databases of older versions name the folder as it was called then."""
    (tmp_path / "link").symlink_to(root.parent)
    artifacts = ConfinedArtifacts((tmp_path / "link" / "artifacts" / RUN).as_uri(), root)
    assert Path(artifacts.get_local_path("report.html")).read_text() == "a report"


def test_no_other_store_is_left_in_mlflow(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    known = registry._artifact_repository_registry._registry
    monkeypatch.setattr(registry._artifact_repository_registry, "_registry", dict(known))
    confine_artifacts(root)
    assert registry.get_artifact_repository((root / RUN).as_uri()).list_artifacts()
    for uri in (
        *("s3://bucket/x", "http://127.0.0.1/x", "ftp://host/x", "hdfs://h/x", "dbfs:/x"),
        *("runs:/r1/x", "models:/m/1", "mlflow-artifacts:/1", "file:///etc", "/etc", "etc"),
    ):
        with pytest.raises(MlflowException):
            registry.get_artifact_repository(uri)
