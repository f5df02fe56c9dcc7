"""Undocumented parts of torch that this package uses. Checked with torch 2.13."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch._compile import _disable_dynamo
from torch.nn.modules.batchnorm import _BatchNorm as BatchNorm
from torch.optim import Optimizer
from torch.optim.optimizer import _use_grad_for_differentiable
from torch.utils._python_dispatch import TorchDispatchMode

__all__ = [
    "BatchNorm",
    "compute_adam_steps",
    "defer_compiler",
    "defer_compiler_in_mode",
    "seed_torch",
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


def seed_torch(seed: int) -> None:
    """Seed the generators of the CPU and of GPUs in use, as ``torch.manual_seed`` does.

    That of torch 2.13 formats the stack for every kind of device which is not in use, to seed it
    later: on a CPU this takes as long as a small epoch.
    """
    torch.default_generator.manual_seed(seed)
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]  # torch leaves it untyped
        torch.cuda.manual_seed_all(seed)


def compute_adam_steps(optimizer: torch.optim.Adam, weight: Tensor, lr: Tensor) -> Tensor:
    """The step of each entry of a weight per unit of gradient, ``lr/(√v̂ + ε)``.

    Reads ``exp_avg_sq`` and ``step`` of Adam's state, as torch 2.13 names them. Returns 0, 0-dim,
    for a weight that has had no gradient yet.
    """
    group = optimizer.param_groups[0]
    _, beta = group["betas"]
    state: dict[str, Any] = optimizer.state[weight]
    if not state:
        return torch.zeros_like(lr)
    corrected = state["exp_avg_sq"] / (1 - beta ** state["step"])
    steps: Tensor = lr / (corrected.sqrt() + group["eps"])
    return steps
