"""Measures how a trained network's scores change with corrupted inputs, and its calibration."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Generator, Tensor

from trainables.analysis.calibration_error import (
    Confidence,
    find_confidence,
    measure_calibration_error,
)
from trainables.analysis.corruptions import add_noise, blur, drop_values, measure_deviation, shift
from trainables.analysis.held_out import load_weights
from trainables.config.robustness import CALIBRATION, Curve, Level, Robustness
from trainables.data.batch import LABELS, Batch
from trainables.data.encoding import CHANNELS
from trainables.data.lazy import StreamSplit
from trainables.data.nests import Nest, count_samples, map_nest
from trainables.data.placing import place_split
from trainables.data.samples import Pair
from trainables.data.splits import Splits
from trainables.data.table_columns import TableColumns, name_columns, read_columns
from trainables.errors import TrainableError, locate
from trainables.forward import read_outputs
from trainables.measure import measure_each
from trainables.regularisers.input_parts import list_parts
from trainables.run import Run

ROWS = 500
"""Test samples at most."""
_BYTES = 2**25
"""Bytes of inputs at most, beyond the first batch."""
SECONDS = 30.0
"""Seconds after which no further level of a corruption is measured, for one network."""
NOISE = (0.1, 0.25, 0.5, 1.0)
SIGMAS = (0.5, 1.0, 1.5, 2.0)
SHIFTS = (0.05, 0.1, 0.15, 0.2)
MISSING = (0.05, 0.1, 0.2, 0.4)

Change = Callable[[Tensor, float, Generator], Tensor]


@dataclass(frozen=True)
class _Corruption:
    """One kind of corruption, and what it does to each part of the inputs that it is for."""

    name: str
    unit: str
    levels: tuple[float, ...]
    changes: Mapping[str, Change]

    def apply(self, batches: Sequence[Pair], level: float) -> Iterator[Batch]:
        """The corrupted batches; the same random numbers for every network."""
        generator = Generator().manual_seed(0)
        for x, y in batches:
            yield Batch(self._change_parts(x, level, generator), y)

    def _change_parts(self, x: Nest, level: float, generator: Generator) -> Nest:
        names = iter(list_parts(x))
        return map_nest(lambda part: self._change(next(names), part, level, generator), x)

    def _change(self, name: str, part: Tensor, level: float, generator: Generator) -> Tensor:
        if name not in self.changes:
            return part
        changed = self.changes[name](part.float(), level, generator)
        if part.dtype == torch.uint8:
            return changed.round().clamp(0, 255).to(part.dtype)
        return changed.to(part.dtype)


def measure_robustness(
    run: Run,
    splits: Splits,
    state: Mapping[str, Tensor],
    clock: Callable[[], float] = time.monotonic,
) -> Robustness:
    """Score a finished training at the weights ``state`` on corrupted test samples.

    Noise is in standard deviations of the inputs, see :func:`measure_deviation`; images are blurred
    and shifted as well, values of tables go missing. An error of user-defined code ends the
    measurement and is its ``reason``.
    """
    if splits.test is None:
        return Robustness(reason="there are no test samples")
    try:
        with load_weights(run, state), locate("test"):
            return _measure(run, splits, _read_rows(run, splits), clock)
    except TrainableError as error:
        return Robustness(reason=str(error))


def _read_rows(run: Run, splits: Splits) -> list[Pair]:
    """Some test samples, drawn from all over the split; of a stream its first ones."""
    assert splits.test is not None
    samples = place_split(splits.test, run.data.device)
    size, subset = min(run.training.eval_batch_size, ROWS), None
    if not isinstance(splits.test, StreamSplit):
        drawn = torch.randperm(len(splits.test), generator=Generator().manual_seed(0))
        subset = drawn[:ROWS]
    found: list[Pair] = []
    rows = taken = 0
    for pair in samples.read(size, subset=subset):
        found.append(pair)
        rows += count_samples(pair[1])
        taken += sum(part.nbytes for part in list_parts(pair[0]).values())
        if rows >= ROWS or taken >= _BYTES:
            break
    return found


def _measure(
    run: Run, splits: Splits, batches: Sequence[Pair], clock: Callable[[], float]
) -> Robustness:
    until = clock() + SECONDS
    rows = sum(count_samples(y) for _, y in batches)
    clean = _score(run, (Batch(x, y) for x, y in batches))
    corruptions = _list_corruptions(run, splits, batches)
    if not corruptions:
        return Robustness(rows, clean, reason="the inputs have no floats to be corrupted")
    found: dict[str, list[Level]] = {c.name: [Level(0.0, clean)] for c in corruptions}
    reason = ""
    for corruption, level in _interleave(corruptions):
        if clock() > until:
            reason = f"measuring took more than {SECONDS:.0f} s, so that levels are missing"
            break
        scores = _score(run, corruption.apply(batches, level))
        found[corruption.name].append(Level(level, scores))
    curves = tuple(Curve(c.name, c.unit, tuple(found[c.name])) for c in corruptions)
    return Robustness(rows, clean, curves, reason)


def _interleave(corruptions: Sequence[_Corruption]) -> Iterator[tuple[_Corruption, float]]:
    """The lowest level of every corruption, then the next one."""
    for place in range(max(len(c.levels) for c in corruptions)):
        for corruption in corruptions:
            if place < len(corruption.levels):
                yield corruption, corruption.levels[place]


def _score(run: Run, batches: Iterator[Batch]) -> dict[str, float]:
    """``loss``, the first metric and, of a classification, the calibration error."""
    confidences: list[Confidence | None] = []
    outputs: list[Any] = []

    def watch() -> Iterator[Batch]:
        for batch in batches:
            outputs.clear()
            yield batch
            one = len(outputs) == 1
            task, limit = run.trainable.info.task, run.trainable.threshold
            confidences.append(find_confidence(outputs[0], batch.y, task, limit) if one else None)

    def keep(_module: object, _inputs: object, made: Any) -> None:
        outputs.append(read_outputs(made))

    hook = run.model.register_forward_hook(keep)
    try:
        with run.autocast():
            found = measure_each(run.model, run.trainable, watch())
    finally:
        hook.remove()
    scores = {name: float(values.mean()) for name, values in found.items()}
    shown = {name: scores[name] for name in ("loss", *_find_metric(scores))}
    known = [c for c in confidences if c is not None]
    if known and len(known) == len(confidences):
        shown[CALIBRATION] = measure_calibration_error(known)
    return shown


def _find_metric(scores: Mapping[str, float]) -> tuple[str, ...]:
    """Accuracy, or the first metric there is."""
    others = [name for name in scores if name != "loss"]
    return ("accuracy",) if "accuracy" in others else tuple(others[:1])


def _list_corruptions(run: Run, splits: Splits, batches: Sequence[Pair]) -> tuple[_Corruption, ...]:
    by_batch = [list_parts(x) for x, _ in batches]
    parts = {name: part for name, part in by_batch[0].items() if _is_corruptible(name, part)}
    images = [name for name, part in parts.items() if _is_image(part)]
    tables = {n: _find_columns(n, run, splits) for n, part in parts.items() if part.ndim == 2}
    noise = {
        name: _make_noise([batch[name] for batch in by_batch], tables.get(name)) for name in parts
    }
    found = [_Corruption("noise", "standard deviations", NOISE, noise)]
    if images:
        smallest = min(min(parts[name].shape[-2:]) for name in images)
        pixels = sorted({float(max(1, round(share * smallest))) for share in SHIFTS})
        blurs: dict[str, Change] = dict.fromkeys(images, lambda x, level, _: blur(x, level))
        shifts: dict[str, Change] = dict.fromkeys(images, shift)
        found.append(_Corruption("blur", "pixels (sigma)", SIGMAS, blurs))
        found.append(_Corruption("shift", "pixels", tuple(pixels), shifts))
    if tables:
        dropped = {name: _make_dropping(columns) for name, columns in tables.items()}
        found.append(_Corruption("missing values", "share of values", MISSING, dropped))
    return tuple(found) if parts else ()


def _is_corruptible(name: str, part: Tensor) -> bool:
    """Whether it is numbers: floats, or images of bytes. Labels among the inputs are none."""
    if name == LABELS:
        return False
    return part.is_floating_point() or (part.dtype == torch.uint8 and part.ndim >= 3)


def _is_image(part: Tensor) -> bool:
    return part.ndim == 4 and part.shape[1] <= CHANNELS


def _make_noise(rows: Sequence[Tensor], columns: TableColumns | None) -> Change:
    deviation = measure_deviation(rows)
    if columns is not None:
        deviation = deviation * columns.numeric.to(deviation.device)

    def change(x: Tensor, level: float, generator: Generator) -> Tensor:
        return add_noise(x, level, deviation, generator)

    return change


def _make_dropping(columns: TableColumns) -> Change:
    def change(x: Tensor, level: float, generator: Generator) -> Tensor:
        return drop_values(x, level, columns, generator)

    return change


def _find_columns(name: str, run: Run, splits: Splits) -> TableColumns:
    """The columns of a part that is a table; without names, the medians of training rows fill."""
    found = None if name else read_columns(splits.preprocessing)
    if found is not None:
        return found
    part = list_parts(run.data.train.spread(ROWS)[0])[name]
    return name_columns(part.shape[1], part.float().median(0).values.cpu())
