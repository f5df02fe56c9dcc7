"""A ``Trainer`` as what a sweep trains: its ``train`` is the loop of each trial."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from torch import nn

from trainables.config.construct import check_options
from trainables.config.huggingface import INSTALL, derives_from, is_instance_of, names_trainer
from trainables.errors import ContractError, blame
from trainables.loops.huggingface.callback import HuggingFaceCallback
from trainables.loops.huggingface.samples import Form, Named
from trainables.loops.signature import OwnLoop

if TYPE_CHECKING:
    from trainables.loops.trial import Trial

_PAIR = 2
_PRINTING = ("ProgressCallback", "PrinterCallback", "NotebookProgressCallback")


@dataclass(frozen=True)
class TrainerLoop(OwnLoop):
    """The ``train`` of the Trainer that a function of the spec's arguments returns."""

    def select_arguments(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """All of them; they were checked when the function was found."""
        return dict(arguments)

    def call(self, trial: Trial, arguments: Mapping[str, Any]) -> object:
        """Train a new Trainer, an epoch for each report."""
        made = self.function(**arguments)
        if not fit_returned(trial, made):
            raise ContractError(
                f"{self.path} returned {type(made).__name__}, not a Trainer", "trainable"
            )
        return None


def find_trainer_loop(path: str, found: object, arguments: Mapping[str, Any]) -> OwnLoop | None:
    """The loop of a function that is annotated to return a Trainer; None for others.

    Raises:
        ContractError: it does not take an argument, or is a class of trainers.
    """
    if isinstance(found, type):
        if derives_from(found, "Trainer"):
            raise ContractError(
                f"{path} is a class of trainers; name a function that returns one: "
                "`def make(trial): return Trainer(…)`",
                "trainable",
            )
        return None
    if not callable(found):
        return None
    try:
        signature = inspect.signature(found)
    except (TypeError, ValueError):  # a builtin without a signature
        return None
    if not names_trainer(signature.return_annotation) or "trial" in signature.parameters:
        return None
    check_options(path, found, arguments, {})
    return TrainerLoop(path, found, "")


def fit_returned(trial: Trial, made: object) -> bool:
    """Train what a loop returned, if that is a Trainer, or a model and its arguments."""
    if is_instance_of(made, "Trainer"):
        fit_trainer(trial, made)
        return True
    if _is_pair(made):
        assert isinstance(made, tuple)
        fit_trainer(trial, _build(*made))
        return True
    return False


def fit_trainer(trial: Trial, trainer: Any) -> None:
    """Train until the trial ends, from the trial's last checkpoint on if it has one.

    A Trainer without datasets gets those of the trial's data. Its seed, its number of epochs and
    its folder are the trial's.
    """
    args = trainer.args
    args.seed, args.data_seed = trial.seed, trial.seed
    args.num_train_epochs = trial.max_epochs
    args.output_dir = str(trial.folder)
    args.dataloader_pin_memory = args.dataloader_pin_memory and trial.device != "cpu"
    for callback in tuple(trainer.callback_handler.callbacks):
        if type(callback).__name__ in _PRINTING:
            trainer.remove_callback(callback)
    if trainer.train_dataset is None:
        form, data = Form.of(trainer.model), trial.data
        trainer.train_dataset = Named(data.train, form)
        trainer.eval_dataset = Named(data.val, form)
        args.remove_unused_columns = False
    callback = HuggingFaceCallback(trial)
    trainer.add_callback(callback)
    with _quiet():
        trainer.train(resume_from_checkpoint=callback.checkpoint)


@contextmanager
def _quiet() -> Iterator[None]:
    """Show no progress bars of transformers."""
    log: Any = importlib.import_module("transformers.utils.logging")
    shown = log.is_progress_bar_enabled()
    log.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            log.enable_progress_bar()


def _is_pair(made: object) -> bool:
    return (
        isinstance(made, tuple)
        and len(made) == _PAIR
        and isinstance(made[0], nn.Module)
        and is_instance_of(made[1], "TrainingArguments")
    )


def _build(model: nn.Module, args: Any) -> Any:
    with blame("trainable", f"Trainer ({INSTALL})"):
        return importlib.import_module("transformers").Trainer(model=model, args=args)
