"""Finds the loop of a spec's trainable, if it is one that trains itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from trainables.config.code_policy import TRAINABLE, load_named
from trainables.loops.huggingface.fit import find_trainer_loop, fit_returned
from trainables.loops.lightning.fit import find_module_loop
from trainables.loops.signature import OwnLoop, find_function_loop


def find_loop(path: str, arguments: Mapping[str, Any]) -> OwnLoop | None:
    """The loop at ``path``: a function of a trial or of a Trainer, or a ``LightningModule``.

    None for anything else.

    Raises:
        ContractError: it cannot be imported, the process's policy refuses it, or it is a loop that
            lacks something.
    """
    found = load_named(path, TRAINABLE, arguments)
    return (
        find_module_loop(path, found, arguments)
        or find_trainer_loop(path, found, arguments)
        or find_function_loop(path, found, arguments, fit_returned)
    )
