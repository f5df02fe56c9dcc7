"""Export of a trained network: weights, a program with the preprocessing, and what rebuilds it."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from platform import python_version
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from trainables.analysis import rebuild
from trainables.analysis.example import save_example
from trainables.analysis.program import Format, Traced, Untraced, is_close, write_program
from trainables.config.data_info import DataInfo
from trainables.data import preprocessing as preprocessing_module
from trainables.data.nests import Nest, map_nest
from trainables.data.preprocessing import Preprocessing, WithPreprocessing

CARD, LOADER, WEIGHTS, CODE = "model.json", "rebuild.py", "weights.safetensors", "code"
EXAMPLE = "example.npz"
_WHOLE_STATE = "weights.pt"
_PREPROCESSING = "preprocessing.py"
_LIBRARIES = ("torch", "numpy", "pandas", "safetensors", "transformers", "gapsweep")
_PATIENCE = 600
"""Seconds that another process may take to load an export."""


@dataclass(frozen=True)
class Origin:
    """What builds a network: an import path with arguments, and the files of the user's code.

    ``training`` are the training's options, which a subclass of ``Trainable`` reads; ``code`` are
    files by the names of their modules. A ``loop`` builds its networks inside of itself, so that
    nothing else can.
    """

    path: str
    arguments: Mapping[str, Any]
    is_trainable: bool = False
    is_loop: bool = False
    training: Mapping[str, Any] = field(default_factory=dict)
    code: Mapping[str, Path] = field(default_factory=dict)


@dataclass(frozen=True)
class Subject:
    """A trained network, and what goes into it.

    ``samples`` are inputs of the network, at least two, ``raw`` the same ones as the source of the
    data has them (the network's where it takes them as they are); ``others`` are more inputs.
    """

    network: nn.Module
    preprocessing: Preprocessing
    info: DataInfo
    samples: Nest
    raw: Any
    origin: Origin
    others: Sequence[Nest] = ()


@dataclass(frozen=True)
class Written:
    """The files of an export.

    ``reason`` says why there is no program; ``unverified`` why another process did not get the
    network's outputs from the files. Both are empty where all is well.
    """

    files: tuple[Path, ...]
    reason: str = ""
    unverified: str = ""


def export_network(
    subject: Subject,
    folder: Path,
    form: Format = "export",
    *,
    card: Mapping[str, Any] | None = None,
    verify: bool = True,
) -> Written:
    """Write the weights, a program, a card that describes both, and ``rebuild.py``.

    The program takes raw inputs, of any number of samples where torch can have it so: one tensor,
    several, or by name. It is kept only if it gives the network's outputs. Where torch cannot make
    one, ``rebuild.py`` builds the network from its code, of which the folder has the user's own
    files. With ``verify`` a new process then loads the folder, see :func:`verify_exports`.
    ``card`` holds further entries of the card. Files of an earlier export are replaced.

    Raises:
        OSError: the folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".export-") as scratch:
        written = _write(subject, Path(scratch), form, card or {})
        (unverified,) = verify_exports([(subject, Path(scratch))]) if verify else [""]
        for name in _OURS:
            _remove(folder / name)
        for path in sorted(Path(scratch).iterdir()):
            path.replace(folder / path.name)
    return Written(list_files(folder), written.reason, unverified)


def list_files(folder: Path) -> tuple[Path, ...]:
    """The files of an export in a folder, and its folder of code; none of other files."""
    return tuple(folder / name for name in _OURS if (folder / name).exists())


_OURS = (
    WEIGHTS,
    _WHOLE_STATE,
    "model.pt2",
    "model.ts",
    CARD,
    LOADER,
    EXAMPLE,
    _PREPROCESSING,
    CODE,
)


def _write(subject: Subject, folder: Path, form: Format, more: Mapping[str, Any]) -> Written:
    network = subject.network.cpu().eval()
    whole, described = _add_preprocessing(network, subject)
    card = {
        "input": described,
        "output": {"shape": ["batch", subject.info.outputs], "task": subject.info.task.value},
        "preprocessing": asdict(subject.preprocessing),
        "parameters": sum(p.numel() for p in network.parameters()),
        "weights": _save_weights(network, folder),
        "program": None,
        "network": _describe_network(subject),
        "libraries": {"python": python_version(), **_find_versions()},
        "torch": torch.__version__,
        **more,
    }
    prepared = rebuild.Exported(whole, card).prepare(subject.raw)
    made = write_program(whole, prepared, subject.others, folder, form)
    reason = made.reason if isinstance(made, Untraced) else ""
    if isinstance(made, Traced):
        card["program"] = made.file
        described["batch"] = made.batch
    else:
        card["no_program"] = reason
        _copy_code(subject.origin.code, folder / CODE)
        shutil.copyfile(preprocessing_module.__file__, folder / _PREPROCESSING)
    shutil.copyfile(rebuild.__file__, folder / LOADER)
    (folder / CARD).write_text(json.dumps(card, indent=2) + "\n", encoding="utf-8")
    save_example(folder / EXAMPLE, subject.raw, _get_outputs(subject))
    return Written((), reason)


def _add_preprocessing(network: nn.Module, subject: Subject) -> tuple[nn.Module, dict[str, Any]]:
    """The network with its preprocessing, and a description of its inputs."""
    kind, fitted = subject.info.kind.value, subject.preprocessing
    if not isinstance(subject.samples, Tensor):
        parts = map_nest(_describe_tensor, subject.samples)
        return network, {"parts": parts, "kind": kind}
    described = _describe_tensor(subject.samples)
    if fitted.columns:
        described["shape"] = ["batch", len(fitted.columns)]
        described["type"] = _name_type(fitted.raw_type)
    return WithPreprocessing(network, fitted).eval(), {**described, "kind": kind}


def _describe_tensor(tensor: Tensor) -> dict[str, Any]:
    return {"shape": ["batch", *tensor.shape[1:]], "type": _name_type(tensor.dtype)}


def _name_type(kind: torch.dtype) -> str:
    return str(kind).removeprefix("torch.")


def _describe_network(subject: Subject) -> dict[str, Any]:
    origin = subject.origin
    return {
        "path": origin.path,
        "arguments": dict(origin.arguments),
        "is_trainable": origin.is_trainable,
        "is_loop": origin.is_loop,
        "training": dict(origin.training) if origin.is_trainable else {},
        "info": asdict(subject.info),
    }


def _save_weights(network: nn.Module, folder: Path) -> str:
    """Write the state dict; the file's name. Values that are no tensors need torch's own format.

    Tensors are copied, because safetensors refuses those that share memory.
    """
    return _save_state(network.state_dict(), folder)


def _save_state(state: Mapping[str, Any], folder: Path) -> str:
    if all(isinstance(value, Tensor) for value in state.values()):
        apart = {
            n: v.detach().clone(memory_format=torch.contiguous_format) for n, v in state.items()
        }
        save_file(apart, folder / WEIGHTS)
        return WEIGHTS
    torch.save(state, folder / _WHOLE_STATE)
    return _WHOLE_STATE


def _copy_code(code: Mapping[str, Path], folder: Path) -> None:
    for module, path in code.items():
        parts = module.split(".")
        parts = [*parts, "__init__"] if path.name == "__init__.py" else parts
        target = folder.joinpath(*parts).with_suffix(".py")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)


def _find_versions() -> dict[str, str]:
    found = {}
    for name in _LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def export_state(
    state: Mapping[str, Any], origin: Origin, folder: Path, reason: str, card: Mapping[str, Any]
) -> Written:
    """Write weights alone, with the code that they are from: of a network that nothing here knows.

    Raises:
        OSError: the folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for path in list_files(folder):
        _remove(path)
    info = {"input_shape": None, "task": "other", "outputs": 0, "kind": "other"}
    written = {
        "input": {"kind": "other", "shape": [], "type": "float32"},
        "preprocessing": asdict(Preprocessing()),
        "weights": _save_state(state, folder),
        "program": None,
        "no_program": reason,
        "network": {
            "path": origin.path,
            "arguments": dict(origin.arguments),
            "is_trainable": False,
            "is_loop": True,
            "training": {},
            "info": info,
        },
        "libraries": {"python": python_version(), **_find_versions()},
        **card,
    }
    _copy_code(origin.code, folder / CODE)
    shutil.copyfile(rebuild.__file__, folder / LOADER)
    (folder / CARD).write_text(json.dumps(written, indent=2) + "\n", encoding="utf-8")
    return Written(list_files(folder), reason, "the network is built inside of its loop")


_ASKED = """
import importlib.util, sys, torch
for folder in sys.argv[1:]:
    spec = importlib.util.spec_from_file_location("rebuild", folder + "/export/rebuild.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    inputs = torch.load(folder + "/inputs", weights_only=False)
    try:
        torch.manual_seed(0)
        torch.save(module.load(folder + "/export")(inputs), folder + "/outputs")
    except Exception as error:
        open(folder + "/error", "w").write(f"{type(error).__name__}: {error}")
"""


def verify_exports(cases: Sequence[tuple[Subject, Path]]) -> list[str]:
    """Why a new process does not get a network's outputs from its export; nothing if it does.

    The network is given encoded samples here and raw ones there. The new process imports what is
    installed, and from each export's own folder.
    """
    with tempfile.TemporaryDirectory() as scratch:
        places = [Path(scratch, str(number)) for number in range(len(cases))]
        for place, (subject, folder) in zip(places, cases, strict=True):
            place.mkdir()
            (place / "export").symlink_to(folder.resolve())
            torch.save(subject.raw, place / "inputs")
        command = [sys.executable, "-I", "-B", "-c", _ASKED, *map(str, places)]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=_PATIENCE)
        except subprocess.TimeoutExpired:
            return [f"a new process did not answer within {_PATIENCE} s"] * len(cases)
        last = (done.stderr.strip().splitlines() or ["it ended without a word"])[-1]
        return [
            _judge(subject, place, last) for place, (subject, _) in zip(places, cases, strict=True)
        ]


def _judge(subject: Subject, place: Path, last: str) -> str:
    error, outputs = place / "error", place / "outputs"
    if error.exists() or not outputs.exists():
        said = error.read_text(encoding="utf-8") if error.exists() else last
        return f"a new process cannot load it: {' '.join(said.split())[:300]}"
    found = map_nest(torch.as_tensor, torch.load(outputs, weights_only=False))
    if not is_close(found, _get_outputs(subject)):
        return "a new process that loads it gets other outputs than the network has here"
    return ""


def _get_outputs(subject: Subject) -> Any:
    """The network's outputs for its encoded samples, in the target's units.

    Empty for a network that a user's loop calls in another way.
    """
    if not _is_callable(subject):
        return {}
    with torch.random.fork_rng([]), torch.no_grad():
        torch.manual_seed(0)
        made = rebuild.plain(rebuild.call(subject.network, subject.samples))
        whole, _ = _add_preprocessing(subject.network, subject)
        scaled = isinstance(whole, WithPreprocessing) and isinstance(made, Tensor)
        return whole.rescale(made) if scaled else made  # type: ignore[operator]  # it is one


@torch.no_grad()
def _is_callable(subject: Subject) -> bool:
    try:
        rebuild.call(subject.network, subject.samples)
    except Exception:  # of the user's code, in whatever way it fails
        return False
    return True


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
