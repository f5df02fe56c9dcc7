"""The batched programs of one architecture: a training step, and a pass that is measured.

Each is recorded once for one lane, batched for each width that is asked for, and checked against
the function that was recorded before it is used.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.func import functional_call
from torch.utils import _pytree as pytree

from trainables.contract import Trainable
from trainables.data.batch import Batch
from trainables.data.nests import Nest, count_samples, list_leaves, map_nest
from trainables.devices import list_used_generators
from trainables.errors import is_out_of_memory
from trainables.lanes.batched_calls import Lanes, are_same
from trainables.lanes.batching import Way, batch, choose_ways
from trainables.lanes.random_states import RandomStates
from trainables.lanes.reasons import CannotFuseError, explain
from trainables.lanes.shape_key import describe_network, name_difference
from trainables.lanes.stacks import list_tensors
from trainables.lanes.tracing import Function, Recorded, record
from trainables.loop import TrainingRun
from trainables.measure import sum_samples


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

    @property
    def size(self) -> tuple[int, bool]:
        """How many samples a lane has of it, and whether it is the whole step."""
        return next(list_leaves(self.y)).shape[1], self.part is None

    def fill(self, values: Sequence[Tensor]) -> Given:
        """The same with other tensors."""
        rest = iter(values)

        def take(_leaf: Tensor) -> Tensor:
            return next(rest)

        parts = (self.x, self.y, self.other_y, self.share, self.smoothing, self.part)
        return Given(*(map_nest(take, part) for part in parts))


@dataclass(frozen=True, eq=False)
class Program:
    """A batched graph for a number of lanes."""

    recorded: Recorded
    graph: fx.GraphModule
    spec: Any = None

    def run(
        self, stacks: Sequence[Tensor], given: Given, states: Sequence[RandomStates] = ()
    ) -> list[Tensor | None]:
        """The outputs, stacks ``(L, …)``; each lane draws its own random numbers."""
        return self.call(stacks, given.list_tensors(), self.draw(states))

    def draw(self, states: Sequence[RandomStates]) -> list[Tensor]:
        """The random numbers of a run, stacks ``(L, …)``."""
        return [draw.take_each(states) for draw in self.recorded.draws]

    @torch.no_grad()
    def call(
        self, stacks: Sequence[Tensor], given: Sequence[Tensor], drawn: Sequence[Tensor]
    ) -> list[Tensor | None]:
        """The outputs, with random numbers that are drawn already."""
        made: list[Tensor | None] = self.graph(*stacks, *given, *drawn)
        return made


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


class _Sums(_Step):
    """A pass that is measured, with its loss and metrics."""

    def forward(self, given: Given) -> Any:
        """The loss and the metrics of a batch, by name."""
        trainable: Trainable = self.__dict__["trainable"]
        return trainable.evaluate(self.model, _make_batch(given))


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
        self._sums = _Sums(self.run).eval()
        self._names = list(list_tensors(self.run.model))
        parameters = dict(self.run.model.named_parameters())
        self._trained = [n for n, p in parameters.items() if p.requires_grad]
        del self.run  # only what was copied is needed

    @property
    def trained(self) -> Sequence[str]:
        """The names of the parameters that have gradients."""
        return self._trained

    def find_step(self, stacks: Sequence[Tensor], given: Given) -> Program:
        """The program of a training step: the losses, and the gradients of :attr:`trained`.

        Raises:
            CannotFuseError: there is none that has the bits of each lane alone.
        """
        return self._find("step", self._make_step, stacks, given, shared=False)

    def find_forward(self, stacks: Sequence[Tensor], given: Given, *, shared: bool) -> Program:
        """The program of a pass that is measured; all lanes read one batch if it is ``shared``.

        Raises:
            CannotFuseError: see :meth:`find_step`.
        """
        return self._find("forward", self._make_forward, stacks, given, shared=shared)

    def find_sums(self, stacks: Sequence[Tensor], given: Given, *, shared: bool) -> Program:
        """The program of a pass that is measured, with sums over samples of loss and metrics.

        Its ``spec`` are their names.

        Raises:
            CannotFuseError: see :meth:`find_step`; or one is no value for each sample.
        """
        return self._find("sums", self._make_sums, stacks, given, shared=shared)

    def _find(
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
        with torch.random.fork_rng(list_used_generators()):
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
                raise CannotFuseError("the network returns something that is not a tensor")
            specs[:] = [spec]
            return leaves

        return forward, specs

    def _make_sums(self, given: Given) -> tuple[Function, list[Any]]:
        names: list[Any] = []

        @torch.no_grad()
        def measure(*tensors: Tensor) -> list[Tensor | None]:
            named, batch = self._split(tensors, given)
            values = functional_call(self._sums, named, (batch,))
            size = (count_samples(batch.y),)
            if not all(isinstance(v, Tensor) and v.shape == size for v in values.values()):
                raise CannotFuseError("a metric is no value for each sample")
            names[:] = values
            return [sum_samples(value) for value in values.values()]

        return measure, names

    def _split(self, tensors: Sequence[Tensor], given: Given) -> tuple[dict[str, Tensor], Given]:
        count = len(self._names)
        named = {f"model.{n}": t for n, t in zip(self._names, tensors[:count], strict=True)}
        return named, given.fill(tensors[count:])

    def _record(self, kind: str, function: Function, inputs: Sequence[Tensor]) -> Recorded:
        """Record a function, and check that the recording is the function.

        Raises:
            CannotFuseError: it is not.
        """
        model = {"step": self._step, "forward": self._forward, "sums": self._sums}[kind].model
        before = describe_network(model)
        seed = int(torch.randint(2**31, ()))

        def call() -> list[Tensor | None]:
            torch.manual_seed(seed)
            tensors = self._copy(kind, inputs)
            return [*function(*tensors), *tensors]

        wanted = call()
        after = describe_network(model)
        if before != after:
            where = name_difference(before, after)
            raise CannotFuseError(
                f"a pass changes {where}, which is not a buffer; register it by `register_buffer`, "
                "and change it in place"
            )
        recorded = record(function, self._copy(kind, inputs))
        theirs = self._copy(kind, inputs)
        torch.manual_seed(seed)
        with torch.no_grad():
            found = recorded.graph(*theirs, *(draw.take() for draw in recorded.draws))
        if _are_all_same(wanted, [*found, *theirs]):
            return recorded
        if not _are_all_same(wanted, call()):
            raise CannotFuseError(
                "a pass has other results each time that it is made; convolutions on a GPU repeat "
                "theirs if `torch.backends.cudnn.deterministic` is set"
            )
        raise CannotFuseError("a pass that is recorded has other results than the same pass")

    def _copy(self, kind: str, inputs: Sequence[Tensor]) -> list[Tensor]:
        trained = set(self._trained)  # torch chooses kernels by it, whether or not it records
        copies = [tensor.detach().clone() for tensor in inputs]
        for name, tensor in zip(self._names, copies, strict=False):
            tensor.requires_grad_(name in trained)
        return copies


def _are_all_same(made: Sequence[Tensor | None], others: Sequence[Tensor | None]) -> bool:
    return all(are_same(one, other) for one, other in zip(made, others, strict=True))


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
