"""The record of a refit in its sweep's folder: a card, and the folder of files that it names.

The card is written last and names its folder, so that whatever a killed process left is no part of
a refit.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from search_spaces.models import Frozen
from service.base.errors import ConflictError, DamagedFileError
from service.base.files import write_atomically
from service.base.json_numbers import Number
from service.sweep.answer import Mean
from service.sweep.home import SweepFolder

FORMAT = 1
CARD = "card.json"


class Registered(Frozen):
    """A version of a registered model in MLflow, and the run that logged it."""

    name: str
    version: str
    run: str

    @property
    def uri(self) -> str:
        """What MLflow loads it by."""
        return f"models:/{self.name}/{self.version}"


class Refit(Frozen):
    """One training on all samples that are not test samples.

    ``trials`` are how many the sweep had then: with more, its answer may be another now.
    ``files`` is the name of its folder below ``refit``, which has the exported network. ``rows``
    are the samples that it was trained on, of which the replicates had ``replicate_rows``;
    ``kept_epochs`` are those that the trainings of the sweep kept. ``metrics`` are those of all
    training samples, ``test`` those of the ``test_rows`` test samples, ``estimate`` the means over
    ``replicates``. ``no_program`` and ``unverified`` are those of its export; ``changes`` are what
    it was trained on in place of what the sweep ran on.
    """

    format: int = FORMAT
    files: str
    what: str
    confirmed: bool
    trial: int
    trials: int
    without: tuple[str, ...]
    baseline: bool
    params: dict[str, Any]
    configuration: str
    epochs: int
    kept_epochs: tuple[int, ...]
    seed: int
    rows: int
    replicate_rows: int | None
    test_rows: int
    data: dict[str, str]
    metrics: dict[str, Number]
    test: dict[str, Number]
    estimate: dict[str, Mean]
    replicates: int
    seconds: Number
    created: Number
    notes: tuple[str, ...] = ()
    changes: tuple[str, ...] = ()
    no_program: str = ""
    unverified: str = ""
    registered: Registered | None = None


def get_refit_folder(folder: SweepFolder) -> Path:
    """The folder of a sweep's refit, which may not exist."""
    return folder.path / "refit"


def get_refit_files(folder: SweepFolder, refit: Refit) -> Path:
    """The folder of a refit's exported network."""
    return get_refit_folder(folder) / refit.files


def read_refit(folder: SweepFolder) -> Refit | None:
    """The refit of a sweep; None if there is none.

    Raises:
        DamagedFileError: its card cannot be used.
        ConflictError: a newer gapsweep has written it.
    """
    card = get_refit_folder(folder) / CARD
    try:
        found = Refit.model_validate_json(folder.read(card))
    except FileNotFoundError:
        return None
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        raise DamagedFileError(
            f"{folder.sweep_id}/refit/{CARD} is damaged: {'.'.join(map(str, first['loc']))}: "
            f"{first['msg']}; `gapsweep refit {folder.sweep_id} --again` replaces it"
        ) from None
    if found.format > FORMAT:
        raise ConflictError(f"the refit of {folder.sweep_id} was written by a newer gapsweep")
    if "/" in found.files or found.files in ("", ".", ".."):
        raise DamagedFileError(f"{folder.sweep_id}/refit/{CARD} is damaged: files is not a name")
    return found


def write_refit(folder: SweepFolder, refit: Refit) -> None:
    """Record a refit whose files are in place, and delete those of earlier ones."""
    place = get_refit_folder(folder)
    write_atomically(place / CARD, refit.model_dump_json(indent=2) + "\n")
    for path in place.iterdir():
        if path.name not in (CARD, refit.files):
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
