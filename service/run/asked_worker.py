"""Advances a trial whose loop runs elsewhere: one report is one epoch."""

from __future__ import annotations

from service.answer.reported import DIVIDED, MEASURED, SAMPLES
from service.cluster.divisions import TrialContext
from service.cluster.worker import Worker
from service.run.process_state import preserve_process_state
from service.spec.directions import is_high_good
from service.spec.model import SweepSpec
from service.study.messages import Assignment, EpochReport
from trainables.loops.external_run import ELSEWHERE, RunElsewhere
from trainables.loops.opening import read_parts
from trainables.run import EpochResult


class AskedWorker(Worker):
    """A worker of one trial, in the process that asked for it."""

    def __init__(self, context: TrialContext, assignment: Assignment) -> None:
        with preserve_process_state():  # the loop has the process's threads for itself
            super().__init__(context)
        self.take(assignment)
        self.run = self._open()

    def _open(self) -> RunElsewhere:
        """The trial's training before its next epoch."""
        spec, trial = self._context.spec, self._trial
        division = None if self._context.rows is None else self._divide()
        parts = read_parts(
            ELSEWHERE,
            spec,
            trial.params,
            None if division is None else division.splits,
            baseline=trial.baseline,
            device=self._device,
            without=trial.without,
            seed=trial.seed,
            placed=None if division is None else division.placed,
        )
        run = RunElsewhere(parts, lambda name: _is_better_high(spec, name))
        run.folder = self._folder.files(trial.number)
        self._is_own = True
        state = self._read_checkpoint()
        if state is not None:
            run.load_state_dict(state)
        self._run, self._results = run, run.train()
        return run

    def finish(self) -> EpochReport:
        """The last report of a training that its loop ended.

        Raises:
            TrainableError: the kept weights cannot be measured.
        """
        result = self.run.last_result
        assert result is not None, "it has had an epoch"
        return self._conclude(self.run, self._build_report(result))

    def _advance(self) -> EpochReport:
        result = next(self._results)
        self._note(result)
        report = self._build_report(result)
        return self._conclude(self.run, report) if result.done else report

    def _build_report(self, result: EpochResult) -> EpochReport:
        ran_on = self._describe_device()
        return EpochReport(epoch=result.epoch, metrics=dict(result.metrics), ran_on=ran_on)

    def _describe_device(self) -> dict[str, str]:
        """What its metrics are of; the loop trains where it likes."""
        if self.run.measured:
            return {SAMPLES: MEASURED}
        return {SAMPLES: DIVIDED} if self.run.uses_data else {}


def _is_better_high(spec: SweepSpec, name: str) -> bool:
    """Whether higher values of a reported metric are better."""
    side, _, rest = spec.objective.metric.rpartition("/")
    if rest == name and not side.startswith("gap"):
        return spec.objective.mode == "max"
    return is_high_good(f"val/{name}", {})
