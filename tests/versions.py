"""Sentences for whoever upgrades a library and finds that it has moved."""

from __future__ import annotations

from importlib.metadata import version

from service.cluster import compat as of_ray
from service.study import compat as of_optuna


def optuna_moved(what: str) -> str:
    """Why a test of ``service/study/compat.py`` failed."""
    return _moved("optuna", of_optuna.CHECKED_WITH, "service/study/compat.py", what)


def ray_moved(what: str) -> str:
    """Why a test of ``service/cluster/compat.py`` failed."""
    return _moved("ray", of_ray.CHECKED_WITH, "service/cluster/compat.py", what)


def _moved(library: str, checked_with: str, file: str, what: str) -> str:
    return (
        f"{library} {version(library)} is installed, {file} was checked with {checked_with}: {what}"
    )
