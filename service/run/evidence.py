"""What a sweep's driver can measure of its trials beside what is recorded of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Protocol, TypeVar

from service.answer.arms import TestScores
from service.answer.reported import SAMPLES, ReportedScores
from service.run.finalists import measure_difference, measure_finalists
from service.run.fingerprints import take_fingerprint
from service.run.inspect_finalists import inspect_finalists
from service.study.attributes import Finding
from service.study.ranking import Ranking
from service.study.records import Trial
from service.sweep.answer import Division
from service.sweep.fingerprint import Fingerprint
from service.sweep.home import SweepFolder
from service.sweep.inspection import Inspection
from service.sweep.sweep_record import Sweep
from service.sweep.test_rows import read_test_rows
from trainables.config.imports import EXTERNAL
from trainables.data.description import describe_data
from trainables.data.digest import digest_rows
from trainables.data.rows import Rows
from trainables.data.splits import Splits
from trainables.loops.opening import open_run
from trainables.loops.own import OwnRun
from trainables.loops.rehearsal import LoopFindings

if TYPE_CHECKING:
    from service.spec.model import SweepSpec


T = TypeVar("T")


class Evidence(Protocol):
    """The samples and networks of a sweep, as far as its driver has them."""

    @property
    def division(self) -> Division:
        """What replicates differ by."""

    def take_fingerprint(self, spec: SweepSpec, folders: Sequence[str]) -> Fingerprint:
        """What the sweep runs on now; ``folders`` are those of the user's code."""

    def describe_data(self, spec: SweepSpec) -> tuple[str, ...]:
        """How the data were read, in sentences."""

    def build_scores(self, spec: SweepSpec, folder: SweepFolder) -> TestScores:
        """By what replicates are compared."""

    def describe_network(self, spec: SweepSpec) -> Mapping[str, str]:
        """What MLflow shows of the network."""

    def find_target_scale(self) -> float | None:
        """What one unit of a standardised target is in the target's unit; None for several."""

    def measure_difference(
        self, spec: SweepSpec, folder: SweepFolder, sweep: Sweep
    ) -> float | None:
        """See :func:`service.run.finalists.measure_difference`."""

    def measure_finalists(
        self, spec: SweepSpec, folder: SweepFolder, sweep: Sweep
    ) -> Iterator[tuple[int, Finding]]:
        """See :func:`service.run.finalists.measure_finalists`."""

    def inspect_finalists(self, spec: SweepSpec, folder: SweepFolder, sweep: Sweep) -> Inspection:
        """See :func:`service.run.inspect_finalists.inspect_finalists`."""


class Measured:
    """Of trials that are trained and measured here: the weights that they keep can be loaded."""

    def __init__(self, rows: Rows, folds: int | None = None) -> None:
        """``folds`` are those of the search, whose weights are its first fold's."""
        self._rows, self._splits = rows, rows.divide_for_search(folds)

    @property
    def division(self) -> Division:
        """New divisions, unless the data are divided once and for all."""
        return "new_splits" if self._rows.redraws else "one_split"

    def take_fingerprint(self, spec: SweepSpec, folders: Sequence[str]) -> Fingerprint:
        """Its spec, data, code and environment."""
        return take_fingerprint(spec, digest_rows(self._rows), folders)

    def describe_data(self, spec: SweepSpec) -> tuple[str, ...]:
        """How the data were read, in sentences."""
        return _describe(spec, self._rows, self._splits)

    def build_scores(self, spec: SweepSpec, folder: SweepFolder) -> TestScores:
        """Test samples one by one, as each replicate has written them."""
        run = open_run(spec, spec.example_point(), self._splits, baseline=True, device="cpu")
        return TestScores.of(
            Ranking.of(spec), run.trainable.is_better_high, lambda t: read_test_rows(folder, t)
        )

    def describe_network(self, spec: SweepSpec) -> Mapping[str, str]:
        """Its penalised weights."""
        run = open_run(spec, spec.example_point(), self._splits, baseline=True, device="cpu")
        if isinstance(run, OwnRun):  # it would have to be run to show its network
            return {}
        names = (w.name if w.factor == 1 else f"{w.name} × {w.factor:g}" for w in run.penalised)
        return {"penalised": ", ".join(names)}

    def find_target_scale(self) -> float | None:
        """That of the target, where there is one."""
        scales = self._splits.preprocessing.target_scale
        return scales[0] if len(scales) == 1 else None

    def measure_difference(
        self, spec: SweepSpec, folder: SweepFolder, sweep: Sweep
    ) -> float | None:
        """By the validation samples."""
        return measure_difference(spec, self._splits, folder, sweep)

    def measure_finalists(
        self, spec: SweepSpec, folder: SweepFolder, sweep: Sweep
    ) -> Iterator[tuple[int, Finding]]:
        """On the test samples."""
        return measure_finalists(spec, self._splits, folder, sweep)

    def inspect_finalists(self, spec: SweepSpec, folder: SweepFolder, sweep: Sweep) -> Inspection:
        """Their weights, and their scores on corrupted inputs."""
        redraws = self._rows.redraws
        return inspect_finalists(spec, self._splits, folder, sweep, redraws=redraws)


class MeasuredLoop(Measured):
    """Of a user's own loop that calls ``trial.evaluate``, on samples of the spec's data."""

    def __init__(self, rows: Rows, loop: LoopFindings, folds: int | None) -> None:
        super().__init__(rows, folds)
        self._loop = loop

    def describe_data(self, spec: SweepSpec) -> tuple[str, ...]:
        """How the data were read, and what the loop leaves out."""
        return (*super().describe_data(spec), *_describe_loop(self._loop))


class Asked:
    """Of trials that loops elsewhere train: what they report, and what was measured there.

    ``rows`` are those of the spec's data, if it has any; ``trials`` are those so far.
    """

    def __init__(self, rows: Rows | None = None, trials: Sequence[Trial] = ()) -> None:
        self._rows, self._trials = rows, trials

    @property
    def division(self) -> Division:
        """New divisions where every replicate used its own."""
        used = [bool(t.ran_on.get(SAMPLES)) for t in self._trials if t.replicate]
        if self._rows is None or not used or not all(used):
            return "new_seeds"
        return "new_splits" if self._rows.redraws else "one_split"

    def take_fingerprint(self, spec: SweepSpec, folders: Sequence[str]) -> Fingerprint:
        """Its spec and data: what trains is elsewhere."""
        data = {} if self._rows is None else digest_rows(self._rows)
        return Fingerprint(
            spec=spec.model_dump(mode="json", by_alias=True), data=data, code={}, environment={}
        )

    def describe_data(self, spec: SweepSpec) -> tuple[str, ...]:
        """How the data were read, if there are any."""
        if self._rows is None or spec.data is None:
            return ()
        return _describe(spec, self._rows, self._rows.divide_for_search(spec.search.folds))

    def build_scores(self, spec: SweepSpec, folder: SweepFolder) -> TestScores:
        """What was measured of each test sample, else one number for each replicate."""
        return ReportedScores.of_spec(spec, lambda trial: read_test_rows(folder, trial))

    def describe_network(self, spec: SweepSpec) -> Mapping[str, str]:
        """Nothing."""
        return {}

    def find_target_scale(self) -> float | None:
        """That of the data, if there are any."""
        return None if self._rows is None else Measured(self._rows).find_target_scale()

    def measure_difference(
        self, spec: SweepSpec, folder: SweepFolder, sweep: Sweep
    ) -> float | None:
        """Known where the spec's trainable has the weights that were kept."""
        return self._measure(spec, lambda m: m.measure_difference(spec, folder, sweep), None)

    def measure_finalists(
        self, spec: SweepSpec, folder: SweepFolder, sweep: Sweep
    ) -> Iterator[tuple[int, Finding]]:
        """Known where the spec's trainable has the weights that were kept."""
        found: list[tuple[int, Finding]] = []
        return iter(
            self._measure(spec, lambda m: list(m.measure_finalists(spec, folder, sweep)), found)
        )

    def inspect_finalists(self, spec: SweepSpec, folder: SweepFolder, sweep: Sweep) -> Inspection:
        """Known where the spec's trainable has the weights that were kept."""
        return self._measure(spec, lambda m: m.inspect_finalists(spec, folder, sweep), Inspection())

    def _measure(self, spec: SweepSpec, measure: Callable[[Measured], T], otherwise: T) -> T:
        """Measure networks that the spec's trainable builds, if it names one."""
        if self._rows is None or spec.trainable == EXTERNAL:
            return otherwise
        try:
            return measure(Measured(self._rows))
        except Exception:  # the loop may have trained another network than the spec names
            return otherwise


class ReportedLoop(Asked):
    """Of a user's own loop that measures its network itself: test samples are not measured."""

    def __init__(self, rows: Rows, loop: LoopFindings) -> None:
        super().__init__(rows)
        self._loop, self._redraws = loop, rows.redraws

    @property
    def division(self) -> Division:
        """New divisions where the loop trains on them."""
        return "new_splits" if self._redraws and self._loop.uses_data else "new_seeds"

    def take_fingerprint(self, spec: SweepSpec, folders: Sequence[str]) -> Fingerprint:
        """Its spec, data, code and environment."""
        assert self._rows is not None
        return take_fingerprint(spec, digest_rows(self._rows), folders)

    def describe_data(self, spec: SweepSpec) -> tuple[str, ...]:
        """How the spec's data were read, and what the loop leaves out."""
        return (*super().describe_data(spec), *_describe_loop(self._loop))

    def _measure(self, spec: SweepSpec, measure: Callable[[Measured], T], otherwise: T) -> T:
        """Measure nothing: the loop does not say how."""
        return otherwise


def choose_evidence(rows: Rows, loop: LoopFindings | None, folds: int | None = None) -> Evidence:
    """What is measured of the trials of a sweep that trains them here, by ``folds`` if it does."""
    if loop is None:
        return Measured(rows, folds)
    return MeasuredLoop(rows, loop, folds) if loop.measured else ReportedLoop(rows, loop)


def _describe_loop(loop: LoopFindings) -> Iterator[str]:
    return (f"loop: {note}" for note in loop.notes)


def _describe(spec: SweepSpec, rows: Rows, splits: Splits) -> tuple[str, ...]:
    assert spec.data is not None, "it was opened"
    found = describe_data(spec.data, rows, splits, spec.search.folds)
    return tuple(f"{note.subject}: {note.text}" for note in found)
