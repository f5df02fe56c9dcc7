"""Trains several trials in one process, an epoch of each at a time. Imports no Ray.

Those that can share their steps do; every other one trains by itself in between. What a trial
answers is what it answers alone.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence

from service.base.collection import collect_as_usual
from service.cluster.divisions import Divisions, TrialContext
from service.cluster.worker import Worker
from service.study.messages import Answer, Assignment, EpochReport, TrialFailure
from trainables.lanes.block import Outcome
from trainables.lanes.group import Group
from trainables.lanes.reasons import CannotFuseError
from trainables.lanes.shape_key import ShapeKey, explain_alone, find_key
from trainables.lanes.stacks import own
from trainables.loop import TrainingRun

FEWEST = 4
"""Trainings that share their steps, at least; fewer gain less than it costs to record them."""


class Lane(Worker):
    """A worker of one trial, which may share its steps with the others of its slot."""

    def __init__(self, context: TrialContext, divisions: Divisions, assignment: Assignment) -> None:
        super().__init__(context, divisions)
        self.take(assignment)
        self.key: ShapeKey | None = None
        self.shared: tuple[Group, TrainingRun] | None = None

    def begin_round(self, *, ahead: bool, beside: int, may_share: bool) -> Answer | None:
        """Open the training or go on; what it answers before it is trained, if anything.

        ``ahead`` says that the session does not know the last round yet; ``beside`` is how many
        trainings, this one included, write their states in turns.
        """
        self._is_ahead, self._checkpoint.writers = ahead, beside

        def begin() -> EpochReport | None:
            has_begun = self._run is not None
            known = self._prepare()
            if may_share and not has_begun and isinstance(self._run, TrainingRun):
                self.key = None if explain_alone(self._run) else find_key(self._run)
            self._is_midway = known is None
            return None if known is None else self._answer(known)

        return self._guard(begin)

    def train_alone(self) -> Outcome:
        """Train an epoch by itself."""
        try:
            return next(self._results)
        except Exception as error:
            return error

    def end_round(self, outcome: Outcome) -> Answer | None:
        """What the trial answers after an epoch; None if the session knows that epoch.

        Raises:
            BdbQuit: the user quit a debugger inside of the trial.
        """

        def end() -> EpochReport | None:
            if isinstance(outcome, Exception):
                raise outcome
            self._is_midway = False
            result = self._note(outcome)
            return None if result is None else self._answer(result)

        return self._guard(end)

    @property
    def saves_each_epoch(self) -> bool:
        """Whether its state is written before an epoch is reported."""
        return self._saves_each_epoch()

    def join(self, group: Group) -> None:
        """Share steps with the others of a group from now on; without a word if it cannot."""
        if self.shared is None and isinstance(self._run, TrainingRun):
            try:
                group.take(self._run)
                self.shared = group, self._run
            except CannotFuseError:
                self.key = None

    def part(self) -> None:
        """Share no step with others from now on."""
        if self.shared is not None:
            group, run = self.shared
            if run in group.runs:
                group.drop(run)
            self.shared = None

    def leave(self) -> None:
        """Let go of the trial, which may go on in another process."""
        self._let_go()
        self.part()

    def _get_state(self) -> Mapping[str, object]:
        return own(super()._get_state())


class Slot:
    """The trials of a process, which takes and drops them between rounds.

    A round is an epoch of each.
    """

    def __init__(self, context: TrialContext, width: int) -> None:
        """``width`` is how many trials it has at most; of one it shares nothing."""
        collect_as_usual()
        self._context, self._fewest = context, max(2, min(FEWEST, width))
        self._may_share = width > 1
        self._divisions = Divisions(context, context.spec.resources.device)
        self._lanes: dict[int, Lane] = {}
        self._groups: dict[ShapeKey, list[Group]] = {}
        self._alone: set[ShapeKey] = set()
        self._most: dict[ShapeKey, int] = {}

    def take(self, assignment: Assignment) -> None:
        """Take a trial, which is trained from the next round on."""
        self._lanes[assignment.number] = Lane(self._context, self._divisions, assignment)

    def drop(self, number: int) -> None:
        """Let go of a trial, if it is here."""
        lane = self._lanes.pop(number, None)
        if lane is not None:
            lane.leave()

    def drop_all(self) -> None:
        """Let go of every trial."""
        for number in tuple(self._lanes):
            self.drop(number)

    def close(self) -> None:
        """Let go of every trial, and of the data on the device."""
        self.drop_all()
        self._groups.clear()
        self._divisions.clear()

    def run_ahead(self, seconds: float) -> list[dict[int, Answer]]:
        """The answers of a round, and of more until so many seconds are over or a trial ends.

        Only where what follows an epoch leaves no trace if the trial is to end there.

        Raises:
            torch.AcceleratorError, BdbQuit: as :meth:`advance`.
        """
        until, count = time.monotonic() + seconds, len(self._lanes)
        rounds = [self.advance()]
        while self._lanes and len(self._lanes) == count and time.monotonic() < until:
            if any(lane.saves_each_epoch for lane in self._lanes.values()):
                break
            rounds.append(self.advance(ahead=True))
        return rounds

    def advance(self, *, ahead: bool = False) -> dict[int, Answer]:
        """Train a round; what the trials answer, by number.

        A trial that goes on from a checkpoint may answer before it is trained, or nothing yet.
        With ``ahead``, the session does not know the last round.

        Raises:
            torch.AcceleratorError: the device, and so this process, is unusable.
            BdbQuit: the user quit a debugger inside of a trial.
        """
        lanes = dict(self._lanes)
        begun = {
            n: lane.begin_round(ahead=ahead, beside=len(lanes), may_share=self._may_share)
            for n, lane in lanes.items()
        }
        self._drop_ended(begun)
        waiting = {n: lanes[n] for n, answer in begun.items() if answer is None}
        outcomes = self._train(waiting.values())
        trained = {n: lane.end_round(outcomes[lane]) for n, lane in waiting.items()}
        self._drop_ended(trained)
        answers = {n: begun[n] or trained[n] for n in lanes}
        return {n: answer for n, answer in answers.items() if answer is not None}

    def _drop_ended(self, answers: Mapping[int, Answer | None]) -> None:
        for number, answer in answers.items():
            if isinstance(answer, TrialFailure) or (answer is not None and answer.is_last):
                self.drop(number)

    def _train(self, lanes: Iterable[Lane]) -> dict[Lane, Outcome]:
        """An epoch of each; alone is who has too few others with the same shapes."""
        by_key: dict[ShapeKey | None, list[Lane]] = {}
        for lane in lanes:
            by_key.setdefault(self._find_key(lane), []).append(lane)
        alone = by_key.pop(None, [])
        self._groups = {key: groups for key, groups in self._groups.items() if key in by_key}
        together: list[tuple[ShapeKey, Group, list[Lane]]] = []
        for key, members in by_key.items():
            if key is not None:
                for group, part in self._divide(key, members):
                    if len(part) < self._fewest:
                        alone += part
                    else:
                        together.append((key, group, part))
        for lane in alone:
            lane.part()
        outcomes: dict[Lane, Outcome] = {}
        for key, group, part in together:
            outcomes |= self._train_together(key, group, part)
        return outcomes | {lane: lane.train_alone() for lane in alone}

    def _find_key(self, lane: Lane) -> ShapeKey | None:
        """What a lane has in common with those that it shares its steps with, if it can."""
        return None if lane.key in self._alone else lane.key

    def _divide(self, key: ShapeKey, lanes: list[Lane]) -> list[tuple[Group, list[Lane]]]:
        """The groups of a key with their lanes: one of all, as long as they fit in memory."""
        most = self._most.get(key, len(lanes))
        parts = [lanes[n : n + most] for n in range(0, len(lanes), most)]
        groups = self._groups.setdefault(key, [])
        groups.extend(Group() for _ in parts[len(groups) :])
        found = list(zip(groups, parts, strict=False))
        for group, part in found:
            for lane in part:
                if lane.shared is not None and lane.shared[0] is not group:
                    lane.part()
        return found

    def _train_together(
        self, key: ShapeKey, group: Group, lanes: Sequence[Lane]
    ) -> dict[Lane, Outcome]:
        for lane in lanes:
            lane.join(group)
        found = group.advance()
        outcomes = {
            lane: lane.train_alone() if lane.shared is None else found[lane.shared[1]]
            for lane in lanes
        }
        if group.ran_out:
            self._most[key] = max(1, len(lanes) // 2)
            for lane in lanes:
                lane.part()
            self._groups.pop(key, None)
        elif group.reasons:  # a shared step failed, and will fail with any others
            self._alone.add(key)
        return outcomes
