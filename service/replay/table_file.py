"""A history in one compressed file: NumPy's format, with a header in JSON. It holds no code."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal
from zipfile import BadZipFile

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from search_spaces.values import Value
from service.base.errors import GapsweepError, InputError
from service.replay.recorded_sweep import History, Recording, Values, build_history
from service.spec.file import dump_spec
from service.spec.stored import parse_stored_spec
from service.study.records import Role

_LARGEST = 256 * 2**20
"""Bytes of a file that is read; one of 1,000 trainings of 100 epochs has about 2 MB."""


class _Row(BaseModel):
    model_config = ConfigDict(frozen=True)

    params: dict[str, Value]
    role: Role
    epochs: int = Field(ge=1)
    kept: int | None
    best: dict[str, float]


class _Header(BaseModel):
    model_config = ConfigDict(frozen=True)

    format: Literal[1] = 1
    name: str
    spec: str
    metrics: tuple[str, ...]
    rows: tuple[_Row, ...]


def save_table(history: History, path: Path) -> None:
    """Write a history, its numbers with seven digits.

    Raises:
        OSError: the file cannot be written.
    """
    baseline = () if history.baseline is None else (history.baseline,)
    recordings = (*baseline, *history.drawn)
    metrics = tuple(recordings[0].metrics)
    header = _Header(
        name=history.name,
        spec=dump_spec(history.spec),
        metrics=metrics,
        rows=tuple(
            _Row(
                params=dict(r.params), role=r.role, epochs=r.epochs, kept=r.kept, best=dict(r.best)
            )
            for r in recordings
        ),
    )
    arrays = {m: _join([r.metrics[m] for r in recordings]) for m in metrics}
    with path.open("wb") as file:
        np.savez_compressed(
            file,
            header=np.frombuffer(header.model_dump_json().encode(), dtype=np.uint8),
            seconds=_join([r.seconds for r in recordings]),
            **{f"metric {n}": arrays[m] for n, m in enumerate(metrics)},
        )


def read_table(path: Path) -> History:
    """Read what :func:`save_table` wrote. It imports no code that the spec names.

    Raises:
        InputError: the file cannot be read or is no history.
    """
    refused = InputError(
        f"{path} is not a recorded history: name a sweep, its folder, or a file that "
        "`gapsweep replay SWEEP --save-table FILE` wrote"
    )
    try:
        if path.stat().st_size > _LARGEST:
            raise InputError(f"{path} is larger than {_LARGEST // 2**20} MiB: no recorded history")
        header, arrays = _load(path)
        spec = parse_stored_spec(header.spec, f"{path}, its spec", path.parent)
        rows = tuple(_split(header, arrays))
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror or error})") from None
    except GapsweepError:
        raise
    except (ValueError, KeyError, IndexError, EOFError, BadZipFile, ValidationError):
        raise refused from None
    return build_history(header.name, spec, rows)


def _load(path: Path) -> tuple[_Header, Mapping[str, Values]]:
    with np.load(path, allow_pickle=False) as file:
        if not hasattr(file, "files"):
            raise ValueError(path)
        header = _Header.model_validate_json(bytes(file["header"]))
        names = ("seconds", *(f"metric {n}" for n in range(len(header.metrics))))
        return header, {name: np.asarray(file[name], dtype=np.float64) for name in names}


def _split(header: _Header, arrays: Mapping[str, Values]) -> list[Recording]:
    ends = np.cumsum([row.epochs for row in header.rows])
    if any(len(a) != (ends[-1] if len(ends) else 0) for a in arrays.values()):
        raise ValueError("arrays of other lengths")
    parts = {name: np.split(array, ends[:-1]) for name, array in arrays.items()}
    return [
        Recording(
            params=row.params,
            role=row.role,
            metrics={m: parts[f"metric {n}"][i] for n, m in enumerate(header.metrics)},
            seconds=parts["seconds"][i],
            best=row.best,
            kept=row.kept,
        )
        for i, row in enumerate(header.rows)
    ]


def _join(columns: Sequence[Values]) -> Any:
    return np.concatenate(columns).astype(np.float32)
