"""Gathers what an export of a trained network needs: samples, raw ones, and what builds it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from search_spaces.values import Value
from trainables.analysis.export import Origin, Subject
from trainables.config.code_policy import TRAINABLE, load_named
from trainables.config.trial_parameters import TrainingSpec, read_point
from trainables.data.nests import Nest, keep_arrays, map_nest
from trainables.data.samples import IndexedSamples
from trainables.data.splits import Splits
from trainables.loading import ModuleTrainable
from trainables.loop import TrainingRun
from trainables.run import Run

SAMPLES = 32
"""Training samples on which an export is compared with the network, at most."""
_OTHERS = 8
_PAIR = 2


def gather_subject(
    spec: TrainingSpec,
    params: Mapping[str, Value],
    run: Run,
    splits: Splits,
    raw: Nest | None,
    code: Mapping[str, Path] | None = None,
    network: nn.Module | None = None,
) -> Subject:
    """The network of a training in eval mode, with some of its training samples.

    ``raw`` are the first :data:`SAMPLES` of them as the source has them; None where the network
    takes them so. ``code`` are the user's own files by module. ``network`` replaces the training's.
    """
    samples, _ = run.data.measured.head(SAMPLES)
    samples = _to_cpu(samples)
    is_module = isinstance(run.trainable, ModuleTrainable)
    is_loop = not isinstance(run, TrainingRun) and not _builds_network(spec)
    is_trainable = isinstance(run, TrainingRun) and not is_module
    training = run.training.model_dump(mode="json", by_alias=True) if is_trainable else {}
    return Subject(
        (network or run.model).eval(),
        splits.preprocessing,
        splits.info,
        samples,
        samples if raw is None else raw,
        Origin(
            spec.trainable,
            read_point(spec, params).model,
            is_trainable,
            is_loop,
            training,
            code or {},
        ),
        tuple(_list_others(run)),
    )


def _builds_network(spec: TrainingSpec) -> bool:
    """Whether the trainable of a loop is itself the class of its network, as Lightning's are."""
    found = load_named(spec.trainable, TRAINABLE)
    return isinstance(found, type) and issubclass(found, nn.Module)


def _list_others(run: Run) -> Iterator[Nest]:
    """Pairs of samples of a lazy split, whose batches may have other sizes than the first one."""
    measured = run.data.measured
    if not isinstance(measured, IndexedSamples) or measured is run.data.train:
        measured = run.data.train
    if not isinstance(measured, IndexedSamples):
        return
    starts = torch.linspace(0, len(measured) - _PAIR, _OTHERS).round().long().clamp(min=0)
    for start in sorted({int(start) for start in starts}):
        x, _ = measured.take(torch.arange(start, min(start + _PAIR, len(measured))))
        yield _to_cpu(x)


def _to_cpu(nest: Any) -> Nest:
    return map_nest(lambda leaf: leaf.cpu(), keep_arrays(nest))
