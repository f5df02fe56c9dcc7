"""The state of a fit between two epochs, for a checkpoint; named as Lightning's checkpoints are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_LOOPS = ("epoch_loop", "val_loop", "automatic_optimization", "manual_optimization")


class FitState:
    """What a fit needs to go on after an epoch: weights, optimisers, schedulers, callbacks, loops.

    ``owner`` is the callback that saves it, which is not part of it.
    """

    def __init__(self, trainer: Any, module: Any, owner: object) -> None:
        self._trainer, self._module, self._owner = trainer, module, owner

    def state_dict(self) -> dict[str, Any]:
        """The state after an epoch that is complete."""
        trainer, module = self._trainer, self._module
        state = {
            "epoch": trainer.current_epoch,
            "global_step": trainer.global_step,
            "state_dict": module.state_dict(),
            "optimizer_states": [optimizer.state_dict() for optimizer in trainer.optimizers],
            "lr_schedulers": [c.scheduler.state_dict() for c in trainer.lr_scheduler_configs],
            "loops": trainer.fit_loop.state_dict(),
            "callbacks": {c.state_key: c.state_dict() for c in self._list_callbacks()},
            "precision": trainer.precision_plugin.state_dict(),
        }
        module.on_save_checkpoint(state)
        return state

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue after that epoch; the fit has not begun its loop."""
        trainer, module = self._trainer, self._module
        module.on_load_checkpoint(state)
        module.load_state_dict(state["state_dict"])
        for optimizer, saved in zip(trainer.optimizers, state["optimizer_states"], strict=True):
            optimizer.load_state_dict(saved)
        for config, saved in zip(trainer.lr_scheduler_configs, state["lr_schedulers"], strict=True):
            config.scheduler.load_state_dict(saved)
        for callback in self._list_callbacks():
            if callback.state_key in state["callbacks"]:
                callback.load_state_dict(state["callbacks"][callback.state_key])
        if state["precision"]:
            trainer.precision_plugin.load_state_dict(state["precision"])
        trainer.fit_loop.load_state_dict(state["loops"])
        _finish_restart(trainer.fit_loop)

    def _list_callbacks(self) -> list[Any]:
        return [callback for callback in self._trainer.callbacks if callback is not self._owner]


def _finish_restart(loop: Any) -> None:
    """Tell the loops that no epoch was interrupted, so that the next one begins as any other."""
    loop.restarting = False
    loop.on_iteration_done()
    for name in _LOOPS:
        inner = getattr(loop, name, None)
        if inner is not None:
            _finish_restart(inner)
