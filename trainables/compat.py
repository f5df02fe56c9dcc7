"""Undocumented parts of torch that this package uses. Checked with torch 2.13."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch._compile import _disable_dynamo
from torch.nn.modules.batchnorm import _BatchNorm as BatchNorm
from torch.nn.modules.batchnorm import _NormBase as NormOfBatches
from torch.optim import Optimizer
from torch.optim.optimizer import _use_grad_for_differentiable
from torch.utils._python_dispatch import TorchDispatchMode

__all__ = [
    "BatchNorm",
    "Curvature",
    "NormOfBatches",
    "defer_compiler",
    "defer_compiler_in_groups",
    "defer_compiler_in_mode",
    "find_curvature",
    "has_kernel",
    "has_overflow",
    "is_plain_optimizer",
    "is_sgd",
    "seed_torch",
    "silence_vmap_fallback",
    "takes_step",
    "unscale_fused",
    "wraps_step",
]

_COMPILER = "torch._dynamo"
Mode = TypeVar("Mode", bound=TorchDispatchMode)


def defer_compiler() -> None:
    """Let torch's optimizers work without importing its compiler until something compiles.

    An optimizer of torch 2.13 imports ``torch._dynamo`` when it is built and in each step, only to
    make a compiler that traces it leave it out; the import takes more than a second in each
    process. The methods that do so are called without that as long as the compiler is not loaded.
    """
    leaves_out = _disable_dynamo(_do_nothing).__code__
    breaks_graph = _use_grad_for_differentiable(_do_nothing).__code__
    found = (kind for kind in vars(torch.optim).values() if isinstance(kind, type))
    for kind in {Optimizer, *(kind for kind in found if issubclass(kind, Optimizer))}:
        for name, method in list(vars(kind).items()):
            code = getattr(method, "__code__", None)
            if code is leaves_out:
                setattr(kind, name, _defer(method, method.__wrapped__))
            elif code is breaks_graph:
                setattr(kind, name, _defer(method, _switch_gradients(method.__wrapped__)))


def defer_compiler_in_mode(mode: type[Mode]) -> type[Mode]:
    """Let a dispatch mode see operations without importing torch's compiler, as a decorator.

    ``TorchDispatchMode.__init_subclass__`` of torch 2.13 wraps ``__torch_dispatch__`` as it does
    the methods of optimizers.
    """
    method: Any = mode.__torch_dispatch__
    mode.__torch_dispatch__ = _defer(method, method.__wrapped__)  # type: ignore[method-assign]  # of the same signature
    return mode


@contextmanager
def defer_compiler_in_groups(parallel: Any) -> Iterator[None]:
    """Let a network be wrapped in the block, and then run, without importing torch's compiler.

    ``DistributedDataParallel`` of torch 2.13 imports ``torch._dynamo`` when it is built, only to
    ask for a setting, whose default is said here, and in each forward pass, as optimizers do.
    """
    if _COMPILER in sys.modules:
        yield
        return
    method = parallel._inside_ddp_forward
    if method.__code__ is not _defer(_do_nothing, _do_nothing).__code__:
        plain = contextmanager(method.__wrapped__.__wrapped__)
        parallel._inside_ddp_forward = _defer(method, plain)
    named: Any = torch
    named._dynamo = settings = SimpleNamespace(utils=SimpleNamespace())
    settings.utils.get_optimize_ddp_mode = lambda: "ddp_optimizer"
    try:
        yield
    finally:
        if named._dynamo is settings:
            del named._dynamo


def _do_nothing() -> None:
    pass


def _defer(method: Callable[..., Any], plain: Callable[..., Any]) -> Callable[..., Any]:
    """``plain``; ``method`` as soon as the compiler is loaded."""

    @functools.wraps(method)
    def call(*arguments: Any, **options: Any) -> Any:
        return (method if _COMPILER in sys.modules else plain)(*arguments, **options)

    return call


def _switch_gradients(step: Callable[..., Any]) -> Callable[..., Any]:
    """A step of an optimizer with gradients recorded only if it is differentiable, as torch's."""

    def switched(optimizer: Optimizer, *arguments: Any, **options: Any) -> Any:
        with torch.set_grad_enabled(optimizer.defaults["differentiable"]):
            return step(optimizer, *arguments, **options)

    return switched


def has_kernel(operator: Any, key: str) -> bool:
    """Whether an operator of torch has code of its own for a dispatch key, such as ``CPU``."""
    return bool(torch._C._dispatch_has_kernel_for_dispatch_key(operator.name(), key))


def silence_vmap_fallback() -> None:
    """Let ``vmap`` call an operator that it has no rule for once for each element, silently."""
    torch._C._functorch._set_vmap_fallback_warning_enabled(False)  # type: ignore[attr-defined]  # no stub


def seed_torch(seed: int) -> None:
    """Seed the generators of the CPU and of GPUs in use, as ``torch.manual_seed`` does.

    That of torch 2.13 formats the stack for every kind of device which is not in use, to seed it
    later: on a CPU this takes as long as a small epoch.
    """
    torch.default_generator.manual_seed(seed)
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]  # torch leaves it untyped
        torch.cuda.manual_seed_all(seed)


def find_curvature(optimizer: Optimizer) -> Curvature | None:
    """What divides an optimiser's step of each entry of a weight; None where that is not known.

    The function reads the state and the group of one weight, as torch 2.13 names their items, after
    a step, and returns a new tensor. Not known are subclasses with a step of their own, and RMSprop
    if it is centered: its steps have no bound.
    """
    if any(group.get("centered") for group in optimizer.param_groups):
        return None
    return _CURVATURES.get(_name_step(optimizer))


def has_overflow(scaler: torch.amp.GradScaler, optimizer: Optimizer) -> bool:
    """Whether gradients that the scaler has unscaled for this step are infinite or NaN.

    The scaler itself tells it to nobody, and optimizers with a fused step skip it on their own.
    """
    return any(bool(found) for found in scaler._found_inf_per_device(optimizer).values())


def takes_step(optimizer: Optimizer) -> bool:
    """Whether the step that is made moves weights: False if a scaler found that gradients overflow.

    A scaler calls an optimizer with a fused step in any case, and it skips the step on its own.
    """
    found = getattr(optimizer, "found_inf", None)
    return found is None or not bool(found)


@torch.no_grad()
def unscale_fused(optimizer: Optimizer) -> None:
    """Divide gradients by the scale that a scaler has left to a fused step, before that step."""
    scale = getattr(optimizer, "grad_scale", None)
    if scale is None:
        return
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            if parameter.grad is not None:
                parameter.grad.div_(scale.to(parameter.grad.device))
    optimizer.grad_scale = None  # type: ignore[attr-defined]  # the scaler deletes it after the step


def wraps_step(optimizer: Optimizer) -> bool:
    """Whether a scheduler has replaced the optimiser's ``step`` by a function around the class's.

    Its signature is that of the unbound method.
    """
    return hasattr(optimizer.step, "_wrapped_by_lr_sched")


def is_plain_optimizer(optimizer: Optimizer, hooks: int = 1) -> bool:
    """Whether an optimiser is one of torch's, whose step nothing wraps and ``hooks`` precede."""
    return (
        type(optimizer).__module__.startswith("torch.optim.")
        and not wraps_step(optimizer)
        and len(optimizer._optimizer_step_pre_hooks) == hooks
        and not optimizer._optimizer_step_post_hooks
    )


def is_sgd(optimizer: Optimizer) -> bool:
    """Whether an optimiser's step is that of ``torch.optim.SGD``."""
    return _name_step(optimizer) == "torch.optim.sgd.SGD.step"


def _name_step(optimizer: Optimizer) -> str:
    """Where the step is defined; torch replaces it by a wrapper once there is an optimiser."""
    step = type(optimizer).step
    return f"{step.__module__}.{step.__qualname__}"


def _measure_adam(state: Mapping[str, Any], group: Mapping[str, Any]) -> Tensor:
    """``√v̂ + ε`` (Kingma & Ba 2015; amsgrad: Reddi et al. 2018)."""
    beta = group["betas"][1]
    squares = state["max_exp_avg_sq"] if group.get("amsgrad") else state["exp_avg_sq"]
    curvature: Tensor = squares / (1 - beta ** state["step"])
    return curvature.sqrt_().add_(group["eps"])


def _measure_rmsprop(state: Mapping[str, Any], group: Mapping[str, Any]) -> Tensor:
    """``√v + ε``."""
    curvature: Tensor = state["square_avg"].sqrt()
    return curvature.add_(group["eps"])


def _measure_adagrad(state: Mapping[str, Any], group: Mapping[str, Any]) -> Tensor:
    """``√Σg² + ε``, and the decay of the learning rate (Duchi et al. 2011)."""
    decay = 1 + (state["step"] - 1) * group["lr_decay"]
    curvature: Tensor = state["sum"].sqrt()
    return curvature.add_(group["eps"]).mul_(decay)


Curvature = Callable[[Mapping[str, Any], Mapping[str, Any]], Tensor]
_CURVATURES: Mapping[str, Curvature] = {
    "torch.optim.adam.Adam.step": _measure_adam,
    "torch.optim.nadam.NAdam.step": _measure_adam,
    "torch.optim.rmsprop.RMSprop.step": _measure_rmsprop,
    "torch.optim.adagrad.Adagrad.step": _measure_adagrad,
}
