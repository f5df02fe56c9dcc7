"""Torch's compiler is imported only by who compiles: the import takes more than a second."""

from __future__ import annotations

import copy
import subprocess
import sys

import torch
from torch import nn

from tests.commands import REPOSITORY
from tests.patience import patience
from trainables import compat

TRAINING = """
import sys

import torch
from torch import nn

from trainables.memory_meter import MemoryMeter
from trainables.compat import defer_compiler

defer_compiler()
defer_compiler()
model = nn.Linear(3, 1)
for kind in (torch.optim.Adam, torch.optim.SGD, torch.optim.RMSprop, torch.optim.Adagrad):
    optimizer = kind(model.parameters(), lr=0.1)
    torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.9)
    before = model.weight.clone()
    model(torch.ones(2, 3)).sum().backward()
    optimizer.step()
    optimizer.zero_grad()
    optimizer.load_state_dict(optimizer.state_dict())
    assert not torch.equal(before, model.weight)
    assert model.weight.requires_grad and torch.is_grad_enabled()
with MemoryMeter(model.parameters()) as meter:
    torch.zeros(1000)
assert meter.take_peak() > 4000
print("torch._dynamo" in sys.modules)
compiled = torch.compile(lambda x: x + 1, backend="eager")
assert compiled(torch.ones(1)) == 2
optimizer.step()
with meter:
    torch.zeros(2000)
assert meter.take_peak() > 8000
print("torch._dynamo" in sys.modules)
"""


def said_by(program: str) -> list[str]:
    """The words that a program prints in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        cwd=REPOSITORY,
        timeout=patience(60),
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_a_training_and_its_measurement_work_without_it_until_something_compiles() -> None:
    moved = "torch has moved what trainables.compat replaces"
    assert said_by(TRAINING) == ["False", "True"], moved


def test_a_step_without_it_is_torchs_own() -> None:
    step = torch.optim.Adam.step
    while step.__code__.co_name != "_use_grad":
        step = step.__wrapped__  # type: ignore[attr-defined]  # of functools.wraps
    steps = (step, compat._switch_gradients(step.__wrapped__))  # type: ignore[attr-defined]  # as above
    one = nn.Linear(3, 1)
    models = (one, copy.deepcopy(one))
    for model, take in zip(models, steps, strict=True):
        optimizer = torch.optim.Adam(model.parameters())
        for x in (0.5, 2.0):
            model(torch.full((2, 3), x)).sum().backward()
            take(optimizer)
            assert torch.is_grad_enabled()
    assert all(map(torch.equal, *(list(model.parameters()) for model in models)))


GROUP = """
import sys

import torch
from torch import nn

from service.base.ports import find_free_port
from trainables.compat import defer_compiler
from trainables.distributed.process import Group, Rendezvous

defer_compiler()
group = Group.join(Rendezvous(("127.0.0.1", find_free_port()), is_host=True), 0, 1)
network = group.wrap_parallel(nn.Linear(3, 1))
optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
for _ in range(2):
    network(torch.ones(2, 3)).sum().backward()
    optimizer.step()
print("torch._dynamo" in sys.modules)
torch.compile(lambda x: x + 1, backend="eager")(torch.ones(1))
import torch._dynamo
assert torch._dynamo.utils.get_optimize_ddp_mode() == "ddp_optimizer"
network(torch.ones(2, 3)).sum().backward()
another = group.wrap_parallel(nn.Linear(3, 1))
another(torch.ones(2, 3)).sum().backward()
group.leave()
print("torch._dynamo" in sys.modules)
"""


def test_a_group_trains_without_it_until_something_compiles() -> None:
    assert said_by(GROUP) == ["False", "True"], "torch has moved what it asks its compiler"
