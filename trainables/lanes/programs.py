"""The batched programs of one architecture: a training step, and a pass that is measured.

Each is recorded once for one lane, batched for widths that are powers of two, and checked against
the function that was recorded before it is used. Other widths are made of these, so that lanes
which come and go need few programs.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.func import functional_call
from torch.utils import _pytree as pytree

from trainables.contract import Trainable
from trainables.data.batch import Batch
from trainables.data.nests import Nest, list_leaves, map_nest
from trainables.errors import is_out_of_memory
from trainables.lanes.batching import Way, batch, choose_ways
from trainables.lanes.calls import Lanes, are_same
from trainables.lanes.reasons import CannotFuseError, explain
from trainables.lanes.shape_key import describe_network, name_difference
from trainables.lanes.stacks import list_tensors
from trainables.lanes.tracing import Function, Recorded, record
from trainables.loop import TrainingRun


@dataclass(frozen=True)
class Given:
    """What a step of many lanes is given: a batch whose tensors are stacks ``(L, …)``.

    ``share`` and ``smoothing`` are None where no lane mixes or smooths, ``part`` where the batch
    is the whole step.
    """

    x: Nest
    y: Nest
    other_y: Nest = None
    share: Tensor | None = None
    smoothing: Tensor | None = None
    part: Tensor | None = None

    def list_tensors(self) -> list[Tensor]:
        """All tensors, in order."""
        values = (self.x, self.y, self.other_y, self.share, self.smoothing, self.part)
        return [leaf for value in values for leaf in list_leaves(value)]

    def describe(self) -> tuple[Any, tuple[bool, ...]]:
        """What a program depends on: the tensors of one lane, and which there are."""
        layouts = tuple((t.shape[1:], t.stride()[1:], t.dtype) for t in self.list_tensors())
        optional = (self.other_y, self.share, self.smoothing, self.part)
        return layouts, tuple(value is not None for value in optional)

    def pick(self, lanes: slice) -> Given:
        """What some of the lanes are given."""
        return self.fill([tensor[lanes] for tensor in self.list_tensors()])

    def fill(self, values: Sequence[Tensor]) -> Given:
        """The same with other tensors."""
        rest = iter(values)

        def take(_leaf: Tensor) -> Tensor:
            return next(rest)

        parts = (self.x, self.y, self.other_y, self.share, self.smoothing, self.part)
        return Given(*(map_nest(take, part) for part in parts))


@dataclass(frozen=True)
class Program:
    """A batched graph; ``draws`` draw its last inputs, for one lane after the other."""

    recorded: Recorded
    graph: fx.GraphModule
    spec: Any = None

    def draw(self) -> list[Tensor]:
        """The random numbers of one lane, from torch's generator."""
        return [draw.take() for draw in self.recorded.draws]

    @torch.no_grad()
    def run(
        self, stacks: Sequence[Tensor], given: Given, draws: Sequence[Sequence[Tensor]]
    ) -> list[Tensor | None]:
        """The outputs, stacks ``(L, …)``; ``draws`` are those of each lane."""
        drawn = [torch.stack(row) for row in zip(*draws, strict=True)]
        made: list[Tensor | None] = self.graph(*stacks, *given.list_tensors(), *drawn)
        return made


@dataclass(frozen=True)
class Split:
    """Programs for all lanes, each for some that follow each other.

    ``shared`` says whether all lanes are given the same tensors.
    """

    parts: Sequence[tuple[slice, Program]]
    shared: bool

    @property
    def first(self) -> Program:
        """The first of the programs, which have the same draws and outputs."""
        return self.parts[0][1]

    def list_widths(self) -> list[int]:
        """For each lane, how many have its program."""
        sizes = [part.stop - part.start for part, _ in self.parts]
        return [size for size in sizes for _ in range(size)]

    def run(
        self, stacks: Sequence[Tensor], given: Given, draws: Sequence[Sequence[Tensor]]
    ) -> list[list[Tensor | None]]:
        """The outputs of each lane; ``draws`` are those of each lane."""
        rows: list[list[Tensor | None]] = []
        for part, program in self.parts:
            own = given if self.shared else given.pick(part)
            made = program.run([stack[part] for stack in stacks], own, draws[part])
            size = part.stop - part.start
            rows += [[v if v is None else v[n] for v in made] for n in range(size)]
        return rows


def divide(width: int) -> list[slice]:
    """The largest powers of two that make up a width."""
    start, parts = 0, []
    while start < width:
        size = 1 << ((width - start).bit_length() - 1)
        parts.append(slice(start, start + size))
        start += size
    return parts


class _Step(nn.Module):
    """A training step as a module, so that its tensors can be given."""

    def __init__(self, run: TrainingRun) -> None:
        super().__init__()
        self.model = copy.deepcopy(run.model)
        self.__dict__["trainable"] = copy.copy(run.trainable)

    def forward(self, given: Given) -> Tensor:
        """The loss of a batch."""
        trainable: Trainable = self.__dict__["trainable"]
        loss: Tensor = trainable.step(self.model, _make_batch(given))
        return loss


class _Forward(_Step):
    """A pass that is measured."""

    def forward(self, given: Given) -> Any:
        """What the network makes of a batch."""
        trainable: Trainable = self.__dict__["trainable"]
        return trainable.forward(self.model, _make_batch(given))


def _make_batch(given: Given) -> Batch:
    smoothing: Any = 0.0 if given.smoothing is None else given.smoothing
    return Batch(given.x, given.y, given.other_y, given.share, smoothing)


@dataclass
class Programs:
    """The programs of trainings with one shape key, made of one of them when they are needed."""

    run: TrainingRun
    _made: dict[Any, Program | CannotFuseError] = field(default_factory=dict)
    _recorded: dict[Any, tuple[Recorded, Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._step, self._forward = _Step(self.run).train(), _Forward(self.run).eval()
        self._names = list(list_tensors(self.run.model))
        parameters = dict(self.run.model.named_parameters())
        self._trained = [n for n, p in parameters.items() if p.requires_grad]
        del self.run  # only what was copied is needed

    @property
    def trained(self) -> Sequence[str]:
        """The names of the parameters that have gradients."""
        return self._trained

    def find_step(self, stacks: Sequence[Tensor], given: Given) -> Split:
        """The programs of a training step: the losses, and the gradients of :attr:`trained`.

        Raises:
            CannotFuseError: there is none that has the bits of each lane alone.
        """
        return self._find("step", self._make_step, stacks, given, shared=False)

    def find_forward(self, stacks: Sequence[Tensor], given: Given, *, shared: bool) -> Split:
        """The programs of a pass that is measured; all lanes read one batch if it is ``shared``.

        Raises:
            CannotFuseError: see :meth:`find_step`.
        """
        return self._find("forward", self._make_forward, stacks, given, shared=shared)

    def _find(
        self,
        kind: str,
        make: Callable[[Given], tuple[Function, list[Any]]],
        stacks: Sequence[Tensor],
        given: Given,
        *,
        shared: bool,
    ) -> Split:
        parts = []
        for part in divide(len(stacks[0])):
            own = given if shared else given.pick(part)
            some = [stack[part] for stack in stacks]
            parts.append((part, self._find_part(kind, make, some, own, shared=shared)))
        return Split(parts, shared)

    def _find_part(
        self, kind: str, make: Any, stacks: Sequence[Tensor], given: Given, *, shared: bool
    ) -> Program:
        width = len(stacks[0])
        sizes = tuple(tensor.shape for tensor in given.list_tensors())
        key = (kind, width, sizes, given.describe(), shared, torch.get_num_threads())
        if key not in self._made:
            try:
                self._made[key] = self._build(key, make, stacks, given, shared=shared)
            except CannotFuseError as error:
                if is_out_of_memory(error):
                    raise
                self._made[key] = CannotFuseError(str(explain(error)))  # not the step's tensors
        found = self._made[key]
        if isinstance(found, CannotFuseError):
            raise found
        return found

    def _build(
        self, key: Any, make: Any, stacks: Sequence[Tensor], given: Given, *, shared: bool
    ) -> Program:
        kind, width = key[0], key[1]
        inputs = [stack.clone() for stack in stacks]
        batch_inputs = given.list_tensors()
        one = [i[0].clone() for i in inputs]
        one += [(t if shared else t[0]).clone() for t in batch_inputs]
        with torch.random.fork_rng([]):
            layouts = tuple((t.shape, t.stride(), t.dtype) for t in one)
            alone = (kind, layouts, given.describe()[1])
            if alone not in self._recorded:
                function, spec = make(given)
                self._recorded[alone] = (self._record(kind, function, one), spec)
            recorded, spec = self._recorded[alone]
            draws = [[d.take() for d in recorded.draws] for _ in range(width)]
            lanes: list[Any] = [Lanes(stack) for stack in inputs]
            lanes += [t if shared else Lanes(t) for t in batch_inputs]
            lanes += [Lanes(torch.stack(row)) for row in zip(*draws, strict=True)]
            varied = [_vary(value) for value in lanes[: len(inputs)]]
            varied += [_mix(value) for value in lanes[len(inputs) : -len(draws[0]) or None]]
            varied += lanes[len(varied) :]
            with torch.no_grad():
                trials = [lanes, varied]
                ways: dict[str, Way] = choose_ways(recorded.graph, width, trials)
                return Program(recorded, batch(recorded.graph, width, ways, lanes), spec)

    def _make_step(self, given: Given) -> tuple[Function, list[Any]]:
        def step(*tensors: Tensor) -> list[Tensor | None]:
            named, batch = self._split(tensors, given)
            loss = functional_call(self._step, named, (batch,))
            part = loss if batch.part is None else loss * batch.part
            weights = [named[f"model.{name}"] for name in self._trained]
            gradients = torch.autograd.grad(part, weights, allow_unused=True)
            return [loss.detach(), *gradients]

        return step, []

    def _make_forward(self, given: Given) -> tuple[Function, list[Any]]:
        specs: list[Any] = []

        @torch.no_grad()
        def forward(*tensors: Tensor) -> list[Tensor | None]:
            named, batch = self._split(tensors, given)
            leaves, spec = pytree.tree_flatten(functional_call(self._forward, named, (batch,)))
            if not all(isinstance(leaf, Tensor) for leaf in leaves):
                raise CannotFuseError("the network returns something that is no tensor")
            specs[:] = [spec]
            return leaves

        return forward, specs

    def _split(self, tensors: Sequence[Tensor], given: Given) -> tuple[dict[str, Tensor], Given]:
        count = len(self._names)
        named = {f"model.{n}": t for n, t in zip(self._names, tensors[:count], strict=True)}
        return named, given.fill(tensors[count:])

    def _record(self, kind: str, function: Function, inputs: Sequence[Tensor]) -> Recorded:
        """Record a function, and check that the recording is the function.

        Raises:
            CannotFuseError: it is not.
        """
        model = (self._step if kind == "step" else self._forward).model
        before = describe_network(model)
        seed = int(torch.randint(2**31, ()))
        torch.manual_seed(seed)
        mine = self._copy(kind, inputs)
        wanted = function(*mine)
        after = describe_network(model)
        if before != after:
            where = name_difference(before, after)
            raise CannotFuseError(
                f"a pass changes {where}, which is no buffer; register it by `register_buffer`, "
                "and change it in place"
            )
        recorded = record(function, self._copy(kind, inputs))
        theirs = self._copy(kind, inputs)
        torch.manual_seed(seed)
        with torch.no_grad():
            found = recorded.graph(*theirs, *(draw.take() for draw in recorded.draws))
        pairs = zip([*wanted, *mine], [*found, *theirs], strict=True)
        if not all(are_same(one, other) for one, other in pairs):
            raise CannotFuseError("a pass that is recorded has other results than the same pass")
        return recorded

    def _copy(self, kind: str, inputs: Sequence[Tensor]) -> list[Tensor]:
        trained = set(self._trained) if kind == "step" else set()
        copies = [tensor.detach().clone() for tensor in inputs]
        for name, tensor in zip(self._names, copies, strict=False):
            tensor.requires_grad_(name in trained)
        return copies


def _vary(value: Lanes) -> Lanes:
    """Other values of a parameter or buffer, so that none is 0 or equal in all lanes by chance."""
    stack = value.stack
    if not stack.is_floating_point() or stack.ndim == 1:  # numbers such as a rate stay in range
        return value
    spread = float(stack.std()) if stack.numel() > 1 else 0.0
    noise = torch.empty_like(stack).normal_(0, min(max(spread, 0.05), 10.0))
    return Lanes(stack + (noise.abs() if stack.amin() >= 0 else noise))  # variances stay positive


def _mix(value: Any) -> Any:
    """The samples of a batch in another order, over all lanes."""
    if not isinstance(value, Lanes):
        return value.flip(0)
    if value.stack.ndim == 1:
        return value
    samples = value.stack.flatten(0, 1)
    mixed = torch.empty_like(value.stack)
    return Lanes(mixed.copy_(samples[torch.randperm(len(samples))].view(mixed.shape)))
