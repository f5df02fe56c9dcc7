"""The callback that makes a ``Trainer.train`` of transformers the epochs of a trial."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainables.config.huggingface import INSTALL, is_instance_of
from trainables.errors import ContractError
from trainables.loops.huggingface.measuring import Measuring
from trainables.loops.huggingface.samples import Named, find_sides
from trainables.loops.settings import set_generators, take_generators
from trainables.loops.suspended_loop import TrialEnd

if TYPE_CHECKING:
    from trainables.loops.regularised import Regularised
    from trainables.loops.trial import Trial

_SAVED = "huggingface"
_PREFIX = "checkpoint"
_KEPT = 2
"""Checkpoints: the last one, and the one before, if the trial ends while the last is recorded."""


class HuggingFaceCallback:
    """Reports each epoch of a ``Trainer.train`` to a trial, and stops the trainer when it ends.

    After each epoch, the Trainer saves a checkpoint, and both sides of the gap are measured by the
    Trainer's own evaluation on ``train_dataset`` and ``eval_dataset``. The trial's penalties and
    dropout are applied to the model and the Trainer's optimizer.

    An interrupted trial goes on where it was by
    ``trainer.train(resume_from_checkpoint=callback.checkpoint)``, if ``output_dir`` is
    ``trial.folder``. Give ``TrainingArguments(seed=trial.seed)``: a Trainer seeds by it.

    Raises:
        ImportError: transformers is not imported.
    """

    def __new__(cls, *_: object, **__: object) -> HuggingFaceCallback:
        """An instance that is a callback of transformers."""
        package = sys.modules.get("transformers")
        if package is None:
            raise ImportError(
                f"HuggingFaceCallback needs transformers: {INSTALL}, and import Trainer from it"
            )
        bases = (cls, package.TrainerCallback)
        made = type(cls.__name__, bases, {"__module__": cls.__module__, "__doc__": cls.__doc__})
        return object.__new__(made)

    def __init__(self, trial: Trial) -> None:
        self._trial = trial
        self._trainer: Any = None
        self._regularised: Regularised | None = None
        self._measuring: Measuring | None = None
        self._sides: Any = None
        self._due = self._ended = False
        self._own: list[Path] = []

    @property
    def checkpoint(self) -> str | None:
        """The Trainer's checkpoint to resume from; None for a trial that begins.

        Raises:
            ContractError: it is not where it was saved.
        """
        saved = self._trial.restore().get(_SAVED)
        if saved is not None and not Path(saved).is_dir():
            raise ContractError(
                f"the Trainer's checkpoint {saved} is gone; give TrainingArguments("
                "output_dir=trial.folder), which stays as long as the trial",
                "trainable",
            )
        return None if saved is None else str(saved)

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> Any:
        """Apply the trial's regularisers to the model and the optimizer."""
        self._trainer = trainer = _find_trainer()
        _check(args, self._trial)
        optimizer = getattr(trainer.optimizer, "optimizer", trainer.optimizer)
        self._regularised = self._trial.regularise(trainer.model, optimizer)
        self._measuring = Measuring(trainer, self._find_evaluated)
        return control

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> Any:
        """End an epoch after a step where nothing is to be learned."""
        if self._trial.is_rehearsal:
            control.should_epoch_stop = True
        return control

    def on_epoch_end(self, args: Any, state: Any, control: Any, **_: Any) -> Any:
        """Have the Trainer save a checkpoint, after which the epoch is reported."""
        folder = Path(args.output_dir) / f"{_PREFIX}-{state.global_step}"
        self._trial.checkpoint(**{_SAVED: str(folder.resolve())})
        if self._trial.is_rehearsal:
            return self._report(control)
        self._due = True
        if not control.should_save:
            self._own.append(folder)
        control.should_save = True
        return control

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> Any:
        """Report an epoch whose checkpoint was saved."""
        if not self._due:
            return control
        self._due = False
        control = self._report(control)
        while len(self._own) > _KEPT:
            shutil.rmtree(self._own.pop(0), ignore_errors=True)
        return control

    def _report(self, control: Any) -> Any:
        if self._ended:
            control.should_training_stop = True
            return control
        trainer = self._trainer
        try:
            self._trial.evaluate(self._find_evaluated(), self._measuring, **self._find_sides())
            logged = [entry for entry in trainer.state.log_history if "loss" in entry]
            self._trial.report({"train/loss": logged[-1]["loss"]} if logged else {})
        except TrialEnd:
            self._ended = control.should_training_stop = True
        return control

    def _find_evaluated(self) -> Any:
        """The network to measure: an average of the weights, if the trial has one."""
        if self._regularised is None:
            return self._trainer.model
        return self._regularised.evaluated

    def _find_sides(self) -> Any:
        """The batches of both sides; empty where they are those of the trial's data."""
        trainer = self._trainer
        if self._sides is None:
            if isinstance(trainer.train_dataset, Named):
                self._sides = {}
            else:
                if trainer.eval_dataset is None or isinstance(trainer.eval_dataset, dict):
                    raise ContractError(
                        "the Trainer has no single eval_dataset; a gap is between one set of "
                        "training samples and one of validation samples",
                        "trainable",
                    )
                generators = take_generators()  # the fit goes on as if nothing had been counted
                self._sides = find_sides(
                    trainer.callback_handler.train_dataloader,
                    trainer.get_eval_dataloader(),
                    trainer.args.eval_batch_size,
                    self._trial.seed,
                )
                set_generators(generators)
        return self._sides


def _check(args: Any, trial: Trial) -> None:
    """Check that a Trainer trains in epochs, where the trial does.

    Raises:
        ContractError: it does not.
    """
    if args.max_steps > 0:
        raise ContractError(
            f"TrainingArguments has max_steps={args.max_steps}; a trial is trained in epochs: "
            "leave it out, and set training.max_epochs in the spec",
            "trainable",
        )
    device = trial.device.partition(":")[0]
    if args.device.type != device:
        remedy = "set resources.gpus" if device == "cpu" else "leave use_cpu out"
        raise ContractError(
            f"TrainingArguments puts the model on {args.device.type}, and the trial is on "
            f"{device}; {remedy}, or give use_cpu={device == 'cpu'}",
            "trainable",
        )


def _find_trainer() -> Any:
    """The Trainer whose ``train`` calls this: transformers 5 gives callbacks no reference to it."""
    frame = sys._getframe(1)
    while frame is not None:
        found = frame.f_locals.get("self")
        if is_instance_of(found, "Trainer"):
            return found
        frame = frame.f_back  # type: ignore[assignment]  # None at the end of the stack
    raise ContractError("HuggingFaceCallback works in Trainer.train only", "trainable")
