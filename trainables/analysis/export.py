"""Export of a trained network: safetensors, and a program that includes preprocessing."""

from __future__ import annotations

import json
import warnings
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from trainables.config.data_info import DataInfo
from trainables.data.preprocessing import Preprocessing, WithPreprocessing
from trainables.errors import ContractError

Format = Literal["export", "torchscript"]
WEIGHTS, PROGRAMS, CARD = (
    "weights.safetensors",
    {"export": "model.pt2", "torchscript": "model.ts"},
    "model.json",
)


def export_network(
    network: nn.Module,
    preprocessing: Preprocessing,
    info: DataInfo,
    folder: Path,
    form: Format = "export",
    **card: Any,
) -> tuple[Path, ...]:
    """Write the weights, the program and a card that describes its inputs and outputs.

    The program takes raw inputs of any batch size. ``card`` holds further entries of the card.

    Raises:
        ContractError: torch cannot export the network's forward.
        OSError: the folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    whole = WithPreprocessing(network.cpu(), preprocessing).eval()
    raw_shape = preprocessing.get_raw_shape(info.input_shape)
    program = folder / PROGRAMS[form]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch deprecates TorchScript, but it is still in use
            _write_program(whole, torch.zeros(2, *raw_shape), program, form)
    except Exception as error:
        other = "torchscript" if form == "export" else "export"
        first = (str(error).splitlines() or [""])[0]
        raise ContractError(
            f"torch cannot export the network ({type(error).__name__}: {first}); "
            f"try --format {other}"
        ) from error
    state = {name: value.contiguous() for name, value in network.state_dict().items()}
    save_file(_copy_tied(state), folder / WEIGHTS)
    written = {
        "input": {"shape": ["batch", *raw_shape], "kind": info.kind.value},
        "output": {"shape": ["batch", info.outputs], "task": info.task.value},
        "preprocessing": asdict(preprocessing),
        "parameters": sum(p.numel() for p in network.parameters()),
        "torch": torch.__version__,
        **card,
    }
    (folder / CARD).write_text(json.dumps(written, indent=2) + "\n", encoding="utf-8")
    return folder / WEIGHTS, program, folder / CARD


def _write_program(whole: nn.Module, x: Tensor, path: Path, form: Format) -> None:
    if form == "torchscript":
        torch.jit.trace(whole, (x,)).save(str(path))  # type: ignore[no-untyped-call]  # torch leaves it untyped
        return
    batch = torch.export.Dim("batch")
    program = torch.export.export(whole, (x,), dynamic_shapes=({0: batch},))
    torch.export.save(program, path)


def _copy_tied(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Copy tensors that share memory: safetensors refuses to save them otherwise."""
    seen: set[int] = set()
    apart = {}
    for name, value in state.items():
        tied = value.data_ptr() in seen
        seen.add(value.data_ptr())
        apart[name] = value.clone() if tied else value
    return apart
