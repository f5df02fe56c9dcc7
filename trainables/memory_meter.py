"""Measures the memory that operations of torch take, on any device."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

from trainables.compat import defer_compiler_in_mode


@defer_compiler_in_mode
class MemoryMeter(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch leaves it untyped
    """While it is entered, counts the bytes of tensors that are alive, and their peak.

    Counted are the ``held`` tensors and what operations allocate: outputs, gradients, the state of
    an optimiser. Views add nothing, nor do tensors from before. What a kernel allocates for itself
    while it runs is not seen.
    """

    def __init__(self, held: Iterable[Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        self._sizes: dict[int, tuple[weakref.ref[torch.UntypedStorage], int]] = {}
        self._live = 0
        for tensor in held:
            self._count(tensor)
        self._peak = self._live

    def take_peak(self) -> int:
        """The peak in bytes since the last call, and begin a new one."""
        peak, self._peak = self._peak, self._live
        return peak

    def __torch_dispatch__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Run an operation, and count what it returns."""
        kwargs = kwargs or {}
        for tensor in _list_tensors((args, kwargs)):
            self._note(tensor, 0)
        made = func(*args, **kwargs)
        for tensor in _list_tensors(made):
            self._count(tensor)
        self._peak = max(self._peak, self._live)
        return made

    def _count(self, tensor: Tensor) -> None:
        self._note(tensor, tensor.untyped_storage().nbytes())

    def _note(self, tensor: Tensor, size: int) -> None:
        """Count a storage that is not known yet, until it is freed."""
        storage = tensor.untyped_storage()
        key = storage._cdata
        if key in self._sizes:
            return

        def forget(_: object) -> None:
            _, freed = self._sizes.pop(key)
            self._live -= freed

        self._sizes[key] = weakref.ref(storage, forget), size
        self._live += size


def _list_tensors(values: Any) -> list[Tensor]:
    """The tensors of a nest that have a memory of their own."""
    return [
        leaf
        for leaf in pytree.tree_leaves(values)
        if isinstance(leaf, Tensor) and leaf.layout is torch.strided
    ]
