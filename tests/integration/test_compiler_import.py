"""Torch's compiler is imported only by who compiles: the import takes more than a second."""

from __future__ import annotations

import subprocess
import sys

from tests.commands import REPOSITORY
from tests.patience import patience

PROGRAM = """
import sys

import torch
from torch import nn

from service.base.ports import find_free_port
from trainables.compat import defer_compiler
from trainables.distributed.process import Group, Rendezvous
from trainables.memory_meter import MemoryMeter


def tell(what):
    print(what, "torch._dynamo" in sys.modules)


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
tell("training")
with MemoryMeter(model.parameters()) as meter:
    torch.zeros(1000)
assert meter.take_peak() > 4000
tell("measurement")
group = Group.join(Rendezvous(("127.0.0.1", find_free_port()), is_host=True), 0, 1)
network = group.wrap_parallel(nn.Linear(3, 1))
of_group = torch.optim.SGD(network.parameters(), lr=0.1)
for _ in range(2):
    network(torch.ones(2, 3)).sum().backward()
    of_group.step()
tell("group")
compiled = torch.compile(lambda x: x + 1, backend="eager")
assert compiled(torch.ones(1)) == 2
optimizer.step()
with meter:
    torch.zeros(2000)
assert meter.take_peak() > 8000
import torch._dynamo
assert torch._dynamo.utils.get_optimize_ddp_mode() == "ddp_optimizer"
network(torch.ones(2, 3)).sum().backward()
another = group.wrap_parallel(nn.Linear(3, 1))
another(torch.ones(2, 3)).sum().backward()
group.leave()
tell("compiled")
"""


def test_trainings_measurements_and_groups_work_without_it_until_something_compiles() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        capture_output=True,
        text=True,
        cwd=REPOSITORY,
        timeout=patience(60),
    )
    assert done.returncode == 0, done.stderr
    told = ["training False", "measurement False", "group False", "compiled True"]
    assert done.stdout.splitlines() == told, "torch has moved what trainables.compat replaces"
