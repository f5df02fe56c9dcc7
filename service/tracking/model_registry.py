"""Registers a network in MLflow: a run beneath its sweep's, a logged model, a version of a name."""

from __future__ import annotations

import logging
import shutil
import tempfile
import warnings
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, suppress
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
from mlflow.exceptions import MlflowException
from mlflow.models import ModelSignature, infer_signature
from mlflow.store.artifact.local_artifact_repo import LocalArtifactRepository
from mlflow.types.schema import AnyType, ColSpec, Schema, TensorSpec
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID, MLFLOW_RUN_NAME

from service.base.errors import InputError, ServerError
from service.sweep.lost_items import describe_error
from service.sweep.refit_record import Registered
from service.tracking.entities import make_metrics, make_params, make_tags, make_text
from service.tracking.found_runs import FoundRuns
from service.tracking.mlflow_runs import SweepRuns
from service.tracking.refusals import is_away
from service.tracking.run_tags import REFIT_ROLE, ROLE_TAG, SWEEP_TAG, TRIAL_TAG

REFIT_TAG = "gapsweep.refit"
REFIT_OF_TAG = "gapsweep.refit_of"
_PROXIED = "mlflow-artifacts:/"
_DESCRIPTION = 5000
"""Characters of a description that older servers take."""


@dataclass(frozen=True, kw_only=True)
class ModelEntry:
    """What is registered.

    ``key`` distinguishes it from every other refit, so that none is registered twice. ``files`` is
    the folder of the exported network, ``example`` some raw inputs, a table, an array or arrays by
    name, and ``outputs`` what it gives for them; columns in ``loose`` are taken in any type.
    ``requirements`` are packages that it needs.
    """

    key: str
    name: str
    sweep_id: str
    trial: int
    description: str
    params: Mapping[str, Any]
    metrics: Mapping[str, float]
    tags: Mapping[str, str]
    files: Path
    example: Any
    outputs: Any
    requirements: tuple[str, ...]
    loose: Collection[str] = ()
    when: int = 0


def register(runs: SweepRuns, uri: str, artifacts: str | None, entry: ModelEntry) -> Registered:
    """Log and register a network, or find what was registered before a kill.

    ``runs`` finds or creates the sweep's run.

    Raises:
        InputError: MLflow refuses the name or something else of it.
        ServerError: MLflow does not answer.
    """
    with _translate(uri):
        opened = runs.open()
        client = mlflow.MlflowClient(uri)
        _check_name(client, entry)
        return _Registration(client, opened, artifacts, entry).carry_out()


class _Registration:
    def __init__(
        self, client: mlflow.MlflowClient, runs: FoundRuns, artifacts: str | None, entry: ModelEntry
    ) -> None:
        self._client, self._runs, self._entry = client, runs, entry
        self._artifacts = artifacts
        self._tags = {SWEEP_TAG: entry.sweep_id, REFIT_TAG: entry.key, **entry.tags}

    def carry_out(self) -> Registered:
        name = self._entry.name
        for known in self._client.search_model_versions(f"name = '{_quote(name)}'"):
            if known.tags.get(REFIT_TAG) == self._entry.key:
                return Registered(name=name, version=str(known.version), run=known.run_id or "")
        run = self._create_run()
        try:
            version = self._log(run)
        except BaseException:
            with suppress(Exception):
                self._client.set_terminated(run, status="FAILED")
            raise
        self._client.set_terminated(run)
        return Registered(name=name, version=version, run=run)

    def _create_run(self) -> str:
        entry = self._entry
        tags = {
            **self._tags,
            REFIT_OF_TAG: str(entry.trial),  # the tag of a trial would make it one
            ROLE_TAG: REFIT_ROLE,
            MLFLOW_PARENT_RUN_ID: self._runs.parent,
            MLFLOW_RUN_NAME: f"refit of trial {entry.trial}",
            "mlflow.note.content": entry.description,
        }
        safe = {tag.key: tag.value for tag in make_tags(tags)}
        run = str(self._client.create_run(self._runs.experiment, tags=safe).info.run_id)
        self._client.log_batch(
            run,
            metrics=make_metrics(entry.metrics, entry.when, 0),
            params=make_params(entry.params)[:100],
        )
        return run

    def _log(self, run: str) -> str:
        entry = self._entry
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch) / "model"
            _save(entry, folder)
            tags = {**self._tags, TRIAL_TAG: str(entry.trial)}
            safe = {tag.key: tag.value for tag in make_tags(tags)}
            params = {p.key: make_text(p.value, 250) for p in make_params(entry.params)}
            logged = self._client.create_logged_model(
                self._runs.experiment,
                name="network",
                source_run_id=run,
                tags=safe,
                params=params,
            )
            place = str(logged.artifact_location)
            self._upload(logged.model_id, place, folder)
            self._client.finalize_logged_model(logged.model_id, "READY")
        version = self._client.create_model_version(
            entry.name,
            source=place,
            run_id=run,
            tags=safe,
            description=make_text(entry.description, _DESCRIPTION),
            model_id=logged.model_id,
        )
        return str(version.version)

    def _upload(self, model: str, place: str, folder: Path) -> None:
        """Upload a folder; without a server, the home's folder is where a server's would be."""
        if place.startswith(_PROXIED) and self._artifacts is not None:
            below = place.removeprefix(_PROXIED).strip("/")
            store = LocalArtifactRepository(f"{self._artifacts}/{below}")
            store.log_artifacts(str(folder))  # type: ignore[no-untyped-call]  # MLflow's
        else:
            with redirect_stderr(StringIO()):  # a progress bar
                self._client.log_model_artifacts(model, str(folder))


def _check_name(client: mlflow.MlflowClient, entry: ModelEntry) -> None:
    """Create the registered model unless it exists.

    Raises:
        InputError: MLflow refuses its name.
    """
    try:
        found = client.search_registered_models(f"name = '{_quote(entry.name)}'", max_results=1)
        if not found:
            client.create_registered_model(
                entry.name, description=f"Networks of the sweep {entry.name}, refitted by gapsweep."
            )
    except MlflowException as error:
        if is_away(error):
            raise
        raise InputError(
            f"MLflow refuses the name {entry.name!r} ({describe_error(error)}); "
            "name another with --name"
        ) from None


def _quote(name: str) -> str:
    return name.replace("\\", "\\\\").replace("'", "\\'")


def _save(entry: ModelEntry, folder: Path) -> None:
    """Write MLflow's model: the files, the signature, an input example."""
    network = folder.parent / "network"
    shutil.copytree(entry.files, network)
    with _quiet():
        mlflow.pyfunc.save_model(
            folder,
            python_model=str(Path(__file__).with_name("served_network.py")),
            artifacts={"network": str(network)},
            signature=_find_signature(entry),
            input_example=entry.example,
            pip_requirements=list(entry.requirements),
        )


@contextmanager
def _quiet() -> Iterator[None]:
    """Without MLflow's notes, progress bars and warnings."""
    logger = logging.getLogger("mlflow")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), redirect_stderr(StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(before)


def _find_signature(entry: ModelEntry) -> ModelSignature:
    example = entry.example
    found = infer_signature(example, entry.outputs)
    if isinstance(example, pd.DataFrame):
        columns: list[ColSpec | TensorSpec] = [
            _describe_column(example[name], str(name), entry.loose) for name in example
        ]
        found = ModelSignature(Schema(columns), found.outputs)
    return found


def _describe_column(values: pd.Series[Any], name: str, loose: Collection[str]) -> ColSpec:
    if name in loose:
        return ColSpec(AnyType(), name, required=False)  # type: ignore[no-untyped-call]  # MLflow leaves it untyped
    if pd.api.types.is_bool_dtype(values):
        return ColSpec("boolean", name)
    if pd.api.types.is_integer_dtype(values):
        return ColSpec("long", name)
    return ColSpec("double" if pd.api.types.is_numeric_dtype(values) else "string", name)


@contextmanager
def _translate(uri: str) -> Iterator[None]:
    """Raise the errors of MLflow and of its connection as ours.

    Raises:
        InputError: it refuses what was sent.
        ServerError: it does not answer.
    """
    try:
        yield
    except (InputError, ServerError):
        raise
    except Exception as error:
        if is_away(error):
            raise ServerError(
                f"MLflow at {uri} does not answer or does not allow it: {describe_error(error)}"
            ) from error
        if isinstance(error, MlflowException):
            raise InputError(f"MLflow refuses the model: {describe_error(error)}") from error
        raise
