"""Export of a trained network: safetensors, and a program that includes preprocessing."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from trainables.config.data_info import DataInfo
from trainables.data.nests import Nest, map_nest
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
    samples: Nest,
    folder: Path,
    form: Format = "export",
    **card: Any,
) -> tuple[Path, ...]:
    """Write the weights, the program and a card that describes its inputs and outputs.

    The program takes raw inputs of any batch size, as the network does: one tensor, several, or by
    name. ``samples`` are inputs of the network, at least two. ``card`` holds further entries of
    the card.

    Raises:
        ContractError: torch cannot export the network's forward.
        OSError: the folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    network = network.cpu().eval()
    whole, example = _add_preprocessing(network, preprocessing, info, samples)
    program = folder / PROGRAMS[form]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch deprecates TorchScript, but it is still in use
            _write_program(whole, example, program, form)
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
        "input": {**_describe_input(example), "kind": info.kind.value},
        "output": {"shape": ["batch", info.outputs], "task": info.task.value},
        "preprocessing": asdict(preprocessing),
        "parameters": sum(p.numel() for p in network.parameters()),
        "torch": torch.__version__,
        **card,
    }
    (folder / CARD).write_text(json.dumps(written, indent=2) + "\n", encoding="utf-8")
    return folder / WEIGHTS, program, folder / CARD


def _add_preprocessing(
    network: nn.Module, preprocessing: Preprocessing, info: DataInfo, samples: Nest
) -> tuple[nn.Module, Nest]:
    """The network with its preprocessing, and two raw inputs of it."""
    few = map_nest(lambda leaf: leaf[:2].cpu(), samples)
    if not isinstance(few, Tensor):
        return network, few
    shape = preprocessing.get_raw_shape(info.input_shape)
    kind = preprocessing.raw_type if preprocessing.columns else few.dtype
    return WithPreprocessing(network, preprocessing).eval(), torch.zeros(2, *shape, dtype=kind)


def _describe_input(example: Nest) -> dict[str, Any]:
    if isinstance(example, Tensor):
        return {"shape": ["batch", *example.shape[1:]], "type": _name_type(example)}
    parts = map_nest(lambda x: {"shape": ["batch", *x.shape[1:]], "type": _name_type(x)}, example)
    return {"parts": parts}


def _name_type(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def _write_program(whole: nn.Module, example: Nest, path: Path, form: Format) -> None:
    named = dict(example) if isinstance(example, Mapping) else {}
    several = isinstance(example, tuple | list)
    given = () if named else tuple(example) if several else (example,)
    if form == "torchscript":
        torch.jit.trace(  # type: ignore[no-untyped-call]  # torch leaves it untyped
            whole, given or None, example_kwarg_inputs=named or None, strict=False
        ).save(str(path))
        return
    batch = torch.export.Dim("batch")
    shapes = map_nest(lambda _: {0: batch}, named or given)
    program = torch.export.export(whole, given, named, dynamic_shapes=shapes)
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
