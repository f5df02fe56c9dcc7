"""MLflow's artifacts of a server of ours: regular files below one folder, and nothing else.

MLflow chooses an artifact store by the scheme of a URI that it finds in its database: a folder, a
bucket, another server. A server of ours has one folder, so every other store is taken out of
MLflow's registry, and the store of folders refuses all other folders, links and special files.
"""

from __future__ import annotations

import stat
from pathlib import Path
from typing import Any

from mlflow.entities import FileInfo
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import PERMISSION_DENIED
from mlflow.store.artifact.artifact_repository_registry import (
    get_registered_artifact_repositories,
)
from mlflow.store.artifact.local_artifact_repo import LocalArtifactRepository

_UPLOADING = ".artifact.uploading."
"""The beginning of the names of files that MLflow has not received whole."""


def confine_artifacts(root: Path) -> None:
    """Let this process's MLflow read and write artifacts below ``root`` only."""
    root = root.resolve()

    def open_store(artifact_uri: str, **_: str | None) -> ConfinedArtifacts:
        return ConfinedArtifacts(artifact_uri, root)

    stores: dict[str, Any] = get_registered_artifact_repositories()
    stores.clear()
    stores.update({"": open_store, "file": open_store})


class ConfinedArtifacts(LocalArtifactRepository):
    """The artifacts of one run, or of all.

    Raises:
        MlflowException: the folder is not below ``root``; a path leads through a link, or to what
            is neither a regular file nor a folder.
    """

    def __init__(self, artifact_uri: str, root: Path) -> None:
        super().__init__(artifact_uri)
        self._root = root
        folder = Path(self.artifact_dir)
        self._check(folder)

    def get_local_path(self, artifact_path: str) -> str:
        """The path of an artifact that may be read."""
        self._check(Path(self.artifact_dir, artifact_path))
        return str(super().get_local_path(artifact_path))

    def list_artifacts(self, path: str | None = None) -> list[FileInfo]:
        """The artifacts that may be read, of a folder; none of what is no folder."""
        base = Path(self.artifact_dir)
        folder = Path(base, path or "")
        self._check(folder)
        if not folder.is_dir():
            return []
        shown = [p for p in folder.iterdir() if _is_plain(p) and not p.name.startswith(_UPLOADING)]
        return [_describe(found, base) for found in sorted(shown)]

    def _get_or_create_artifact_dir(self, artifact_path: str | None = None) -> str:
        self._check(Path(self.artifact_dir, artifact_path or ""))
        return str(super()._get_or_create_artifact_dir(artifact_path))

    def _download_file(self, remote_file_path: str, local_path: str) -> None:
        self._check(Path(self.artifact_dir, remote_file_path))
        super()._download_file(remote_file_path, local_path)  # type: ignore[no-untyped-call]  # MLflow's

    def delete_artifacts(self, artifact_path: str | None = None) -> None:
        """Delete an artifact or a folder of them."""
        self._check(Path(self.artifact_dir, artifact_path or ""))
        super().delete_artifacts(artifact_path)  # type: ignore[no-untyped-call]  # MLflow's

    def _check(self, path: Path) -> None:
        """Refuse a path that leaves the root; the root itself may be reached through a link."""
        parts = _find_below(self._root, path)
        if parts is None:
            raise MlflowException(
                "this server reads and writes artifacts in its own folder only; "
                "the run or the path names another place",
                error_code=PERMISSION_DENIED,
            )
        here = self._root
        for part in parts:
            here /= part
            if not _is_plain(here):
                raise MlflowException(
                    f"the artifact {Path(*parts)} is, or is behind, a link or a special file; "
                    "only regular files and folders are served",
                    error_code=PERMISSION_DENIED,
                )


def _find_below(root: Path, path: Path) -> tuple[str, ...] | None:
    """The parts of ``path`` below ``root``; None if it is elsewhere, or has a part ``..``."""
    if ".." in path.parts:
        return None
    for base in (root, *_spell_otherwise(root, path)):
        if path.is_relative_to(base):
            return path.relative_to(base).parts
    return None


def _spell_otherwise(root: Path, path: Path) -> list[Path]:
    """The folders above ``path`` that are the root by another name, through a link above it."""
    return [parent for parent in (path, *path.parents) if parent.resolve() == root]


def _describe(path: Path, base: Path) -> FileInfo:
    is_folder = path.is_dir()
    size = None if is_folder else path.stat().st_size
    return FileInfo(path.relative_to(base).as_posix(), is_folder, size)


def _is_plain(path: Path) -> bool:
    """Whether it is a regular file, a folder, or not there."""
    try:
        mode = path.lstat().st_mode
    except OSError:
        return not path.is_symlink()
    return stat.S_ISREG(mode) or stat.S_ISDIR(mode)
