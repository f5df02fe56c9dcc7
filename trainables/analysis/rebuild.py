"""Loads an exported network and gives its outputs for raw inputs. A copy lies in every export.

    from rebuild import load
    network = load()                  # the folder that this file is in
    outputs = network(inputs)

``inputs`` are as the source of the data has them: a table, an array, or a tuple or dict of arrays.
``outputs`` are arrays: logits, or a regression in the target's units.

It needs torch, and pandas for tables. It imports nothing of gapsweep, except where ``model.json``
says that there is no program and the network is a subclass of ``gapsweep.Trainable``.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import json
import sys
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

MISSING = "(missing)"
"""The category of a missing value in a column of categories."""
_LABELS = "labels"
_CODE = "code"


def load(folder: Path | str | None = None) -> Exported:
    """The network of an export, in eval mode; by default that of this file's folder.

    Raises:
        FileNotFoundError: it is no export.
        ImportError: there is no program, and a module that builds the network is not installed.
    """
    place = Path(folder) if folder is not None else Path(__file__).resolve().parent
    card = json.loads((place / "model.json").read_text(encoding="utf-8"))
    network = load_program(place / card["program"]) if card["program"] else _rebuild(place, card)
    return Exported(network, card)


def load_program(path: Path) -> Callable[..., Any]:
    """A program by the ending of its file: one of ``torch.export``, or TorchScript."""
    if path.suffix == ".ts":
        return torch.jit.load(str(path))  # type: ignore[no-any-return, no-untyped-call]  # torch leaves it untyped
    return torch.export.load(path).module()


class Exported:
    """A network that takes raw inputs; ``card`` is what ``model.json`` says of it."""

    def __init__(self, network: Callable[..., Any], card: Mapping[str, Any]) -> None:
        self.network, self.card = network, card

    def __call__(self, inputs: Any) -> Any:
        """The outputs for raw inputs, arrays with one row for each sample.

        Raises:
            ValueError: the inputs lack a column, or have another shape.
        """
        prepared = self.prepare(inputs)
        with torch.no_grad():
            made = [self._run(part, count) for part, count in self._cut(prepared)]
        return _join(made)

    def prepare(self, inputs: Any) -> Any:
        """Raw inputs as tensors in the types that the network takes.

        A table becomes one tensor, in which a category is its number.
        """
        described = self.card["input"]
        if self.card["preprocessing"]["columns"] and not isinstance(inputs, Tensor):
            table = _read_table(inputs, self.card["preprocessing"]["columns"])
            return torch.as_tensor(table).to(getattr(torch, described["type"]))
        if "parts" not in described:
            return self._to_tensor(inputs, described)
        return _match(self._to_tensor, described["parts"], inputs)

    def _to_tensor(self, values: Any, described: Mapping[str, Any]) -> Tensor:
        tensor = torch.as_tensor(np.array(values) if not isinstance(values, Tensor) else values)
        if self.card["input"].get("kind") == "image":
            tensor = _place_channels(tensor, described["shape"][1:])
        return tensor.to(getattr(torch, described["type"]))

    def _cut(self, prepared: Any) -> Iterator[tuple[Any, int]]:
        """Batches of the one size that the program takes, the last filled up with its last row."""
        size = self.card["input"].get("batch")
        count = len(next(_leaves(prepared)))
        if size is None:
            yield prepared, count
            return
        for start in range(0, count, size):
            rows = torch.arange(start, start + size).clamp(max=count - 1)
            yield _map(partial(_take, rows), prepared), min(size, count - start)

    def _run(self, prepared: Any, count: int) -> Any:
        made = call(self.network, prepared)
        return _map(lambda leaf: leaf[:count] if leaf.ndim else leaf, plain(made))


def call(network: Callable[..., Any], inputs: Any) -> Any:
    """``network(x)``; ``network(*x)`` for several inputs, ``network(**x)`` for named ones."""
    if isinstance(inputs, Mapping):
        return network(**{name: x for name, x in inputs.items() if name != _LABELS})
    return network(*inputs) if isinstance(inputs, tuple | list) else network(inputs)


def plain(made: Any) -> Any:
    """Outputs as a tensor, or a dict or tuple of tensors.

    ``.logits`` where an object has them, as outputs of transformers do; other values are left out.
    """
    if isinstance(made, Tensor):
        return made
    if isinstance(getattr(made, "logits", None), Tensor):
        return made.logits
    if isinstance(made, Mapping):
        parts = {str(name): plain(value) for name, value in made.items()}
        return {name: value for name, value in parts.items() if value is not None}
    if isinstance(made, tuple | list):
        found = [plain(value) for value in made]
        return tuple(value for value in found if value is not None)
    return None


def _map(function: Callable[[Tensor], Tensor], nest: Any) -> Any:
    if isinstance(nest, Mapping):
        return {name: _map(function, value) for name, value in nest.items()}
    if isinstance(nest, tuple | list):
        return tuple(_map(function, value) for value in nest)
    return function(nest)


def _take(rows: Tensor, leaf: Tensor) -> Tensor:
    return leaf[rows]


def _leaves(nest: Any) -> Iterator[Tensor]:
    if isinstance(nest, Mapping):
        nest = tuple(nest.values())
    if isinstance(nest, tuple | list):
        for value in nest:
            yield from _leaves(value)
    else:
        yield nest


def _join(made: list[Any]) -> Any:
    """The outputs of several batches as arrays."""
    first = made[0]
    if isinstance(first, Mapping):
        return {name: _join([part[name] for part in made]) for name in first}
    if isinstance(first, tuple):
        return tuple(_join([part[i] for part in made]) for i in range(len(first)))
    whole = torch.cat(made) if first.ndim else first
    return whole.float().numpy() if whole.dtype in (torch.bfloat16, torch.half) else whole.numpy()


def _match(function: Callable[[Any, Any], Tensor], described: Any, inputs: Any) -> Any:
    """The inputs in the order and the structure of their description."""
    if isinstance(described, Mapping) and "shape" in described and "type" in described:
        return function(inputs, described)
    if isinstance(described, Mapping):
        lacking = sorted(set(described) - set(inputs) - {_LABELS})
        if lacking:
            raise ValueError(f"the inputs lack {', '.join(lacking)}")
        return {
            n: _match(function, part, inputs[n]) for n, part in described.items() if n in inputs
        }
    if len(inputs) != len(described):
        raise ValueError(f"{len(described)} inputs are needed, {len(inputs)} were given")
    return tuple(_match(function, *pair) for pair in zip(described, inputs, strict=True))


def _place_channels(images: Tensor, shape: list[int]) -> Tensor:
    """Images ``(N, H, W)``, ``(N, H, W, C)`` or ``(N, C, H, W)`` as the last of these."""
    if images.ndim == len(shape):
        images = images[:, None]
    if list(images.shape[1:]) != shape and list(images.movedim(-1, 1).shape[1:]) == shape:
        images = images.movedim(-1, 1)
    return images


def _read_table(inputs: Any, columns: list[dict[str, Any]]) -> np.ndarray[Any, Any]:
    """A table as numbers: numeric columns as they are, of others the number of the category.

    Columns of a frame are found by their names, those of an array by their places.
    """
    if hasattr(inputs, "columns"):
        named = {str(name): name for name in inputs.columns}
        lacking = [c["name"] for c in columns if c["name"] not in named]
        if lacking:
            raise ValueError(f"the table lacks the columns {', '.join(lacking)}")
        values = [inputs[named[c["name"]]].to_numpy() for c in columns]
    else:
        array = np.asarray(inputs)
        if array.ndim != 2 or array.shape[1] != len(columns):
            raise ValueError(f"{len(columns)} columns are needed; the shape is {array.shape}")
        values = [array[:, place] for place in range(len(columns))]
    read = (_read_column(v, c["categories"]) for v, c in zip(values, columns, strict=True))
    return np.stack(list(read), 1)


def _read_column(
    values: np.ndarray[Any, Any], categories: list[str] | None
) -> np.ndarray[Any, Any]:
    if categories is None:
        return np.array([np.nan if _is_missing(v) else float(v) for v in values], dtype=np.float64)
    numbers = {name: float(place) for place, name in enumerate(categories)}
    return np.array([_find_category(v, numbers) for v in values], dtype=np.float64)


def _find_category(value: Any, numbers: Mapping[str, float]) -> float:
    """The number of a category; -1 for one that no training sample had."""
    if _is_missing(value):
        return numbers.get(MISSING, -1.0)
    if isinstance(value, float | np.floating) and value == int(value):
        return numbers.get(str(value), numbers.get(str(int(value)), -1.0))
    return numbers.get(str(value), -1.0)


def _is_missing(value: Any) -> bool:
    return value is None or value != value or type(value).__name__ in ("NAType", "NaTType")


def _rebuild(folder: Path, card: Mapping[str, Any]) -> nn.Module:
    """The network from the code that built it, with its weights and its preprocessing."""
    network = _build(folder, card["network"]).eval()
    network.load_state_dict(load_weights(folder / card["weights"]))
    if "parts" in card["input"]:
        return network
    module = _import_file(folder / "preprocessing.py")
    fitted = dict(card["preprocessing"])
    fitted["columns"] = tuple(module.Column(**column) for column in fitted["columns"])
    wrapped: nn.Module = module.WithPreprocessing(network, module.Preprocessing(**fitted))
    return wrapped.eval()


def load_weights(path: Path) -> dict[str, Any]:
    """The state dict in a file."""
    if path.suffix == ".pt":
        state: dict[str, Any] = torch.load(path, weights_only=True, map_location="cpu")
        return state
    from safetensors.torch import load_file

    return load_file(path)


def _build(folder: Path, described: Mapping[str, Any]) -> nn.Module:
    code = str(folder / _CODE)
    if code not in sys.path:
        sys.path.insert(0, code)
    if described["is_loop"]:
        raise RuntimeError(
            f"{described['path']} is a training loop, which builds its network inside of itself: "
            "build the same network, and give it the weights of load_weights()"
        )
    module, _, attribute = described["path"].partition(":")
    factory = getattr(importlib.import_module(module), attribute)
    arguments = described["arguments"]
    info = {**described["info"], "input_shape": _read_shape(described["info"]["input_shape"])}
    if described["is_trainable"]:
        return _build_trainable(factory(**arguments), info, described["training"])
    taken = inspect.signature(factory).parameters
    known = {name: info[name] for name in ("input_shape", "outputs") if name in taken}
    built: nn.Module = factory(**{**known, **arguments})
    return built


def _build_trainable(
    trainable: Any, info: Mapping[str, Any], training: Mapping[str, Any]
) -> nn.Module:
    data_info = importlib.import_module("trainables.config.data_info")
    options = importlib.import_module("trainables.config.training").Training
    read = data_info.DataInfo(
        info["input_shape"],
        data_info.Task(info["task"]),
        info["outputs"],
        data_info.Kind(info["kind"]),
    )
    trainable.setup(read, options.model_validate(training))
    built: nn.Module = trainable.build(read)
    return built


def _read_shape(shape: Any) -> Any:
    """A shape, or a nest of them, whose tuples JSON has as lists."""
    if isinstance(shape, Mapping):
        return {name: _read_shape(part) for name, part in shape.items()}
    if isinstance(shape, list):
        return tuple(_read_shape(part) for part in shape)
    return shape


def _import_file(path: Path) -> ModuleType:
    name = f"exported_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} cannot be imported")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module
