"""What must be equal for trainings to share their steps, and which trainings never can."""

from __future__ import annotations

import pickle
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized

from trainables.data.array_samples import ArraySamples
from trainables.data.nests import Nest, list_leaves
from trainables.data.samples import Samples
from trainables.loop import TrainingRun
from trainables.regularisers.dropout import Dropout

Frozen = Any
"""A value that can be hashed and compared."""
_OF_TORCH = frozenset(vars(nn.Module()))
_VALUES: Mapping[type[nn.Module], str] = {Dropout: "_p"}
"""Attributes that layers also keep as tensors, which lanes may have different values of."""
_REPEATED: Mapping[type[nn.Module], tuple[str, ...]] = {
    nn.RNNBase: ("_flat_weights", "_flat_weight_refs")
}
"""Attributes of layers, and of classes derived from them, that list their own parameters."""
_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
_STATE = ("_metrics", "info")
"""Attributes of a trainable that its steps do not read."""
_DEVICES, _PRECISIONS = ("cpu", "cuda"), ("fp32", "tf32")
_OF_ONE = (torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler)
"""What a trainable may keep, and what belongs to one training."""


@dataclass(frozen=True)
class ShapeKey:
    """What trainings of one group have in common: all that a recorded step depends on.

    Strengths, rates, optimisers, schedules and seeds are none of it.
    """

    network: Frozen
    trainable: Frozen
    batches: Frozen
    data: Frozen


def find_key(run: TrainingRun) -> ShapeKey:
    """The shape key of a training, whose network is put in training mode."""
    run.model.train()
    training, data = run.training, run.data
    sizes = (training.batch_size, training.accumulate, training.eval_batch_size)
    where = (run.data.device, training.precision)
    ends = (training.drop_last, training.steps_per_epoch, training.sampling)
    measured = None if run.subset is None else len(run.subset)
    return ShapeKey(
        network=describe_network(run.model),
        trainable=describe_trainable(run),
        batches=(*sizes, *ends, *where, measured),
        data=tuple(map(_describe_samples, (data.train, data.val, data.measured))),
    )


def _describe_samples(samples: Samples) -> Frozen:
    """How many samples there are, and what each has; those of other divisions may be alike."""
    if not isinstance(samples, ArraySamples):
        return id(samples)
    nests = samples.head(1)
    layouts = (tuple((t.shape[1:], t.dtype) for t in list_leaves(nest)) for nest in nests)
    return len(samples), tuple(layouts)


def explain_alone(run: TrainingRun) -> str | None:
    """Why a training cannot share its steps with any other one; None if it perhaps can."""
    training, parts = run.training, run.parts
    samples = (run.data.train, run.data.val, run.data.measured)
    reasons = {
        f"it runs on {run.data.device}": torch.device(run.data.device).type not in _DEVICES,
        f"it has {parts.process.world} workers": parts.process.world > 1,
        "training.compile is true": training.compile,
        f"training.precision is {training.precision}": training.precision not in _PRECISIONS,
        "its samples are read by a Dataset or from a stream; arrays in memory can be shared": any(
            not isinstance(s, ArraySamples) or not s.resident for s in samples
        ),
        "its inputs or targets have parts that are not tensors": any(
            not _is_plain(nest) for s in samples[:2] for nest in s.head(1)
        ),
    }
    found = next((text for text, applies in reasons.items() if applies), None)
    return found or _explain_hooks(run.model) or _explain_kept(run)


def describe_network(model: nn.Module) -> Frozen:
    """Everything of a network that its tensors' values do not say."""
    tensors = (*model.named_parameters(), *model.named_buffers())
    layouts = tuple(
        (name, tuple(t.shape), tuple(t.stride()), t.dtype, t.requires_grad) for name, t in tensors
    )
    modules = tuple(
        (name, _find_class(module), module.training, _freeze_attributes(module))
        for name, module in model.named_modules(remove_duplicate=False)
    )
    return layouts, modules


def describe_trainable(run: TrainingRun) -> Frozen:
    """The class of a trainable, and the attributes that its steps may read."""
    attributes = {
        name: _freeze_values(value) if isinstance(value, nn.Module) else _freeze(value)
        for name, value in vars(run.trainable).items()
        if name not in _STATE and not isinstance(value, _OF_ONE)
    }
    return type(run.trainable), tuple(attributes.items())


def name_difference(before: Frozen, after: Frozen) -> str:
    """Which attribute of which module differs between two descriptions of a network."""
    for one, other in zip(before[0], after[0], strict=False):
        if one != other:
            return f"the layout of {one[0]}"
    for (name, kind, *_, one), (*_, other) in zip(before[1], after[1], strict=False):
        for (attribute, value), (_, changed) in zip(one, other, strict=False):
            if value != changed:
                return f"`{attribute}` of {name or 'the network'} ({kind.__name__})"
    return "an attribute of the network"


def _find_class(module: nn.Module) -> type[nn.Module]:
    """The class; one that is parametrised has a class of its own, made of the usual one."""
    kind = type(module)
    return kind.__bases__[0] if is_parametrized(module) else kind


def _freeze_attributes(module: nn.Module) -> Frozen:
    left_out = {_VALUES.get(type(module))}
    left_out.update(*(names for kind, names in _REPEATED.items() if isinstance(module, kind)))
    items = ((k, v) for k, v in vars(module).items() if k not in _OF_TORCH and k not in left_out)
    return tuple((name, _freeze(value)) for name, value in items)


def _freeze(value: Any) -> Frozen:
    """A value to compare; what cannot be compared is equal to itself only."""
    match value:
        case None | bool() | int() | float() | complex() | str() | bytes() | type() | Enum():
            return type(value), value
        case torch.dtype() | torch.device():
            return value
        case Tensor():
            return value.dtype, tuple(value.shape), value.detach().cpu().numpy().tobytes()
        case nn.Module():
            return describe_network(value)
        case Mapping():
            return type(value), tuple((_freeze(k), _freeze(v)) for k, v in value.items())
        case tuple() | list():
            return type(value), tuple(map(_freeze, value))
    try:
        return type(value), pickle.dumps(value)
    except Exception:  # whatever the object's own code raises
        return type(value), id(value)


def _freeze_values(module: nn.Module) -> Frozen:
    return describe_network(module), _freeze(module.state_dict())


def _is_plain(nest: Nest) -> bool:
    """Whether a nest has nothing but tensors."""
    return all(isinstance(part, Tensor) for part in _list_parts(nest))


def _list_parts(nest: Nest) -> Iterator[Any]:
    if isinstance(nest, Mapping):
        for part in nest.values():
            yield from _list_parts(part)
    elif isinstance(nest, tuple | list):
        for part in nest:
            yield from _list_parts(part)
    else:
        yield from list_leaves(nest) if hasattr(nest, "__dataclass_fields__") else (nest,)


def _explain_hooks(model: nn.Module) -> str | None:
    for name, module in model.named_modules():
        if any(getattr(module, hooks, None) for hooks in _HOOKS):
            return f"{name or 'the network'} has hooks, which see one training only"
    for name, parameter in model.named_parameters():
        if parameter._backward_hooks or getattr(parameter, "_post_accumulate_grad_hooks", None):
            return f"{name} has hooks, which see one training only"
    return None


def _explain_kept(run: TrainingRun) -> str | None:
    own = {id(module) for module in run.model.modules()}
    for name, value in vars(run.trainable).items():
        if isinstance(value, nn.Module) and not own.isdisjoint(map(id, value.modules())):
            return f"its trainable keeps the network as `{name}`; use the one that `step` is given"
    return None
