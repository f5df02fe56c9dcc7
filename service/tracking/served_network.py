"""The Python model of a registered network: a file that MLflow copies and runs when it is loaded.

It imports mlflow alone, and the ``rebuild.py`` that lies beside the network's weights.
"""

import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mlflow
import mlflow.pyfunc


def _unfold(described: Any, inputs: Any, prefix: str) -> Any:
    if isinstance(described, dict) and "shape" in described and "type" in described:
        return inputs[prefix]
    if isinstance(described, dict):
        named = {name: (part, _join(prefix, name)) for name, part in described.items()}
        return {
            name: _unfold(part, inputs, key)
            for name, (part, key) in named.items()
            if any(given == key or given.startswith(f"{key}.") for given in inputs)
        }
    return tuple(
        _unfold(part, inputs, _join(prefix, f"input_{place}"))
        for place, part in enumerate(described)
    )


def _name(outputs: Any, prefix: str) -> Iterator[tuple[str, Any]]:
    if isinstance(outputs, dict):
        parts = list(outputs.items())
    elif isinstance(outputs, tuple):
        parts = [(f"output_{place}", part) for place, part in enumerate(outputs)]
    else:
        yield prefix, outputs
        return
    for name, part in parts:
        yield from _name(part, _join(prefix, name))


def _join(prefix: str, name: str) -> str:
    return f"{prefix}.{name}" if prefix else name


class Network:
    """Raw inputs to the network's outputs: logits, or a regression in the target's units."""

    def load_context(self, context: Any) -> None:
        """Load the network."""
        folder = Path(context.artifacts["network"])
        spec = importlib.util.spec_from_file_location("exported_network", folder / "rebuild.py")
        if spec is None or spec.loader is None:
            raise ImportError(f"{folder} has no rebuild.py")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        self._network = module.load(folder)

    def predict(self, context: Any, model_input: Any, params: Any = None) -> Any:
        """The outputs, with one row for each sample; several by their names or numbers."""
        named = dict(_name(self._network(self._unfold(model_input)), ""))
        return named[""] if list(named) == [""] else named

    def _unfold(self, inputs: Any) -> Any:
        """Inputs in the structure that the network takes; MLflow has no nested ones."""
        described = self._network.card["input"]
        if "parts" not in described or not isinstance(inputs, dict):
            return inputs
        return _unfold(described["parts"], inputs, "")


class ServedNetwork(Network, mlflow.pyfunc.PythonModel):  # type: ignore[misc, name-defined]  # MLflow leaves it untyped
    """MLflow reads the hints of a ``predict`` that is defined here, and warns of those."""


mlflow.models.set_model(ServedNetwork())
