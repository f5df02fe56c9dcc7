"""Makes a program of a network, and keeps it only if it gives the network's outputs."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import redirect_stderr
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from trainables.analysis.rebuild import call, load_program, plain
from trainables.data.nests import Nest, count_samples, list_leaves, map_nest

Format = Literal["export", "torchscript"]
PROGRAMS: Mapping[Format, str] = {"export": "model.pt2", "torchscript": "model.ts"}
_LABELS = "labels"
_FIXED = 32
"""Samples of a batch where a program takes one number of them only, at most."""
_TOLERANCE = 1e-4


@dataclass(frozen=True)
class Traced:
    """A program; ``batch`` is the one number of samples that it takes, None for any."""

    file: str
    batch: int | None = None


@dataclass(frozen=True)
class Untraced:
    """Why there is no program, in a sentence without an end."""

    reason: str


def write_program(
    network: nn.Module, samples: Nest, others: Sequence[Nest], folder: Path, form: Format
) -> Traced | Untraced:
    """Write a program of the network in eval mode, and compare it with the network.

    ``samples`` are inputs, at least two; ``others`` are more of them, whose sizes beside the number
    of samples may differ: then the program takes any size there. It is read from its file and
    compared on all of them, on several numbers of samples and on one.
    """
    given = _drop_labels(samples)
    named = tuple(given) if isinstance(given, Mapping) else ()
    try:
        whole = _Whole.of(network, named)
    except ValueError as error:
        return Untraced(f"its inputs cannot be arguments of a program ({error})")
    checks = [*_vary(given), *map(_drop_labels, others)]
    try:
        expected = [_run(whole, x) for x in checks]
    except Exception as error:  # of the user's own network
        return Untraced(f"its forward fails ({_describe(error)})")
    if not all(any(isinstance(leaf, Tensor) for leaf in list_leaves(e)) for e in expected):
        return Untraced("it returns no tensor")
    reason = ""
    for batch in (None, min(_FIXED, count_samples(given))):
        if form == "torchscript" and batch is not None:
            break
        few = given if batch is None else map_nest(lambda x, n=batch: x[:n], given)
        fitting = [(x, e) for x, e in zip(checks, expected, strict=True) if _fits(x, batch)]
        failed = _attempt(whole, few, others, folder / PROGRAMS[form], form, batch)
        failed = failed or _compare(folder / PROGRAMS[form], fitting)
        if not failed:
            return Traced(PROGRAMS[form], batch)
        reason = reason or failed
    (folder / PROGRAMS[form]).unlink(missing_ok=True)
    return Untraced(reason)


class _Whole(nn.Module):
    """A network with plain outputs; its arguments have names where its inputs have."""

    network: nn.Module

    @classmethod
    def of(cls, network: nn.Module, names: Sequence[str]) -> _Whole:
        """Wrap a network; programs read the names of arguments from the signature."""

        def forward(self: _Whole, *args: Any, **kwargs: Any) -> Any:
            return plain(self.network(*args, **kwargs))

        if names:
            kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
            parameters = [inspect.Parameter(name, kind) for name in ("self", *names)]
            forward.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]  # inspect reads it
        made: _Whole = type("Network", (cls,), {"forward": forward})()
        made.network = network
        return made.eval()


def _attempt(
    whole: _Whole,
    given: Nest,
    others: Sequence[Nest],
    path: Path,
    form: Format,
    batch: int | None,
) -> str:
    """Write a program; why that failed, or nothing."""
    named = dict(given) if isinstance(given, Mapping) else {}
    several = isinstance(given, tuple | list)
    args = () if named else tuple(given) if several else (given,)
    try:
        with warnings.catch_warnings(), redirect_stderr(StringIO()):
            warnings.simplefilter("ignore")  # torch deprecates TorchScript, but it is still in use
            if form == "torchscript":
                _trace(whole, args, named, path)
                return ""
            shapes = None if batch is not None else _find_shapes(given, others)
            program = torch.export.export(whole, args, named, dynamic_shapes=shapes)
            torch.export.save(program, path)
    except OSError:
        raise
    except Exception as error:  # torch raises whatever its tracing meets
        return _describe(error)
    return ""


def _trace(whole: _Whole, args: tuple[Any, ...], named: dict[str, Any], path: Path) -> None:
    torch.jit.trace(  # type: ignore[no-untyped-call]  # torch leaves it untyped
        whole, args or None, example_kwarg_inputs=named or None, strict=False, check_trace=False
    ).save(str(path))


def _find_shapes(given: Nest, others: Sequence[Nest]) -> Any:
    """Any number of samples, and any size of an axis that has several sizes in the data."""
    free = torch.export.ShapesCollection()  # type: ignore[no-untyped-call]  # torch leaves it untyped
    rows = [list(list_leaves(_drop_labels(x))) for x in others]
    for place, leaf in enumerate(list_leaves(given)):
        axes: dict[int, Any] = {0: torch.export.Dim.DYNAMIC}
        for other in (row[place] for row in rows):
            for axis in range(1, leaf.ndim):
                if other.ndim == leaf.ndim and other.shape[axis] != leaf.shape[axis]:
                    axes[axis] = torch.export.Dim.AUTO
        free[leaf] = axes
    return free


def _compare(path: Path, cases: Sequence[tuple[Nest, Any]]) -> str:
    """How a program, read from its file, differs from the network; nothing if it does not."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            program = load_program(path)
        for inputs, expected in cases:
            if not is_close(_run(program, inputs), expected):
                return (
                    f"its outputs for {count_samples(inputs)} samples would not be the network's, "
                    "which depend on more than the program records"
                )
    except Exception as error:  # a program fails with whatever its operations raise
        return f"the program fails: {_describe(error)}"
    return ""


def is_close(found: Any, expected: Any) -> bool:
    """Whether outputs are the same but for rounding."""
    ours, theirs = list(list_leaves(found)), list(list_leaves(expected))
    if len(ours) != len(theirs):
        return False
    return all(_is_near(*pair) for pair in zip(ours, theirs, strict=True))


def _is_near(found: Tensor, expected: Tensor) -> bool:
    one, other = (torch.as_tensor(x).detach().double() for x in (found, expected))
    if one.shape != other.shape:
        return False
    finite = other[other.isfinite()]
    size = float(finite.abs().max()) if finite.numel() else 0.0
    return torch.allclose(one, other, _TOLERANCE, _TOLERANCE * size + 1e-7, equal_nan=True)


def _run(network: Callable[..., Any], inputs: Nest) -> Any:
    """The outputs, with the same random numbers each time."""
    with torch.random.fork_rng([]), torch.no_grad():
        torch.manual_seed(0)
        return plain(call(network, inputs))


def _vary(given: Nest) -> list[Nest]:
    """All samples, one, and three of them."""
    count = count_samples(given)
    parts = {count: given}
    for size in (1, 3):
        if size <= count:
            parts[size] = map_nest(lambda leaf, n=size: leaf[:n], given)
    return list(parts.values())


def _fits(inputs: Nest, batch: int | None) -> bool:
    return batch is None or count_samples(inputs) == batch


def _drop_labels(inputs: Nest) -> Nest:
    """Inputs without the labels that some networks take to compute their loss."""
    if isinstance(inputs, Mapping):
        return {name: x for name, x in inputs.items() if name != _LABELS}
    return inputs


def _describe(error: Exception) -> str:
    first = next((line for line in str(error).splitlines() if line.strip()), "")
    return f"{type(error).__name__}: {' '.join(first.split())[:200]}"
