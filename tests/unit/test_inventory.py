"""What fits a cluster, how often, and what is said where nothing does."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console

from service.base.errors import InputError
from service.cli.spec_tables import build_cluster_table, build_use_table
from service.cluster.inventory import Inventory, Node
from service.spec.resources import Resources
from tests.specs import parse as spec
from trainables import machine
from trainables.machine import Gpu, Machine, build_machine

H100 = Gpu("NVIDIA H100", 80 * 2**30, (9, 0))
V100 = Gpu("Tesla V100", 16 * 2**30, (7, 0))
PLAIN = Machine(cpus=8, memory=2**34, cpu_has_bf16=False, compiler="/usr/bin/g++")


def node(cpus: int = 8, gpus: int = 0, gpu: Gpu = H100, name: str = "a") -> Node:
    machine = replace(PLAIN, cpus=cpus, gpus=(gpu,) * gpus)
    return Node(name, machine, float(cpus), float(gpus))


def cluster(*nodes: Node) -> Inventory:
    return Inventory(nodes)


@pytest.mark.parametrize(
    ("inventory", "resources", "room"),
    [
        (cluster(node(8)), {}, 8),
        (cluster(node(8)), {"cpus": 3}, 2),
        (cluster(node(8)), {"cpus": 0.5}, 16),
        (cluster(node(6)), {"workers": 2}, 3),
        (cluster(node(7)), {"workers": 2}, 3),
        (cluster(node(8, 4)), {"gpus": 0.25}, 8),
        (cluster(node(64, 4)), {"gpus": 0.25}, 16),
        (cluster(node(64, 2)), {"gpus": 0.4}, 4),
        (cluster(node(64, 8)), {"gpus": 4, "workers": 4}, 2),
        (cluster(node(3), node(3)), {"workers": 2}, 3),
        (cluster(node(3), node(3)), {"workers": 2, "placement": "strict_pack"}, 2),
        (cluster(node(8, 2), node(8, 2)), {"workers": 4, "gpus": 4}, 1),
        (cluster(node(8, 2), node(8, 2)), {"workers": 4, "gpus": 4, "placement": "spread"}, 1),
    ],
)
def test_as_many_trials_as_there_is_room_for(
    inventory: Inventory, resources: dict[str, Any], room: int
) -> None:
    asked = Resources(**{"concurrent": 100, **resources})
    assert inventory.count_trials(asked) == inventory.count_slots(asked) == room
    assert inventory.count_slots(asked.model_copy(update={"concurrent": 1})) == 1


@pytest.mark.parametrize(
    ("inventory", "resources", "words"),
    [
        (cluster(node(2)), {"cpus": 4}, "resources.cpus: a trial needs 4 CPUs; the machine has 2"),
        (cluster(node(2)), {"gpus": 1}, "resources.gpus: a trial needs 1 GPU.*no GPU.*set it to 0"),
        (
            cluster(node(8, 1), node(8, 2, name="b")),
            {"workers": 4, "gpus": 4},
            r"a trial needs 4 GPUs; the cluster has 16 CPUs and 3 GPUs \(a has .* b has .*\)",
        ),
        (
            cluster(node(8, 2), node(8, 2)),
            {"workers": 4, "gpus": 4, "placement": "strict_pack"},
            "4 GPUs on one node .*strict_pack.*none has.*pack and spread",
        ),
        (cluster(node(3), node(3)), {"cpus": 4}, "a worker needs 4 CPUs, which no node has"),
        (
            cluster(node(1, 8), node(8, 0)),
            {"workers": 2, "gpus": 2},
            "no 2 workers of 1 CPUs and 1 GPUs each fit together",
        ),
    ],
)
def test_what_does_not_fit_is_refused_with_what_there_is(
    inventory: Inventory, resources: dict[str, Any], words: str
) -> None:
    with pytest.raises(InputError, match=words):
        inventory.count_slots(Resources(**resources))


@pytest.mark.parametrize(
    ("inventory", "changes", "words"),
    [
        (cluster(node()), {"training": {"precision": "bf16"}}, "not support bf16; use fp32"),
        (cluster(node()), {"training": {"precision": "tf32"}}, "not support tf32"),
        (
            cluster(node(gpus=1, gpu=V100)),
            {"training": {"precision": "bf16"}, "resources": {"gpus": 1}},
            "V100 of a does not support bf16 .*compute capability 8.0, this has 7.0",
        ),
        (
            cluster(node()),
            {"space": {"precision": {"choice": ["fp32", "bf16"]}}},
            "not support bf16",
        ),
        (
            cluster(node(gpus=2, gpu=V100), node()),
            {"training": {"precision": "tf32"}, "resources": {"gpus": 1}},
            "V100 of a does not support tf32",
        ),
        (
            cluster(Node("a", replace(PLAIN, compiler=None), 8.0, 0.0)),
            {"training": {"compile": True}},
            r"training.compile: a has no C\+\+ compiler.*set compile to false",
        ),
    ],
)
def test_what_a_device_cannot_is_refused_by_name(
    inventory: Inventory, changes: dict[str, Any], words: str
) -> None:
    with pytest.raises(InputError, match=words):
        inventory.check(spec(**changes))


def test_a_node_that_no_worker_fits_is_not_asked_what_it_can() -> None:
    head = Node("head", replace(PLAIN, compiler=None), 0.0, 0.0)
    asked = spec(training={"precision": "bf16", "compile": True}, resources={"gpus": 1})
    assert cluster(head, node(gpus=1)).check(asked) == 1


def test_what_every_device_can_is_taken() -> None:
    gpus = cluster(node(gpus=2))
    for precision in ("fp32", "tf32", "bf16"):
        asked = spec(training={"precision": precision, "compile": True}, resources={"gpus": 1})
        assert gpus.check(asked) == 2


def test_a_person_sees_what_there_is_and_what_a_spec_would_take() -> None:
    inventory = cluster(node(16, 4), node(8, name="b"))
    asked = spec(resources={"workers": 2, "gpus": 2, "concurrent": 5})
    console = Console(width=100, record=True)
    console.print(build_cluster_table(inventory), build_use_table(asked, inventory))
    shown = console.export_text()
    for words in (
        "4 × NVIDIA H100",
        "4 × 80 GiB",
        "2 workers with 1 CPU and 1 GPU each",
        "2 trials",
    ):
        assert words in shown


def test_the_cpus_are_described_as_torch_describes_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = torch.cpu.get_capabilities()
    expected = any("bf16" in name and has is True for name, has in found.items())
    assert build_machine(()).cpu_has_bf16 == expected
    monkeypatch.setattr(machine, "_CPUS", tmp_path / "missing")
    assert build_machine(()).cpu_has_bf16 == expected
    (tmp_path / "cpuinfo").write_text("flags\t\t: fpu avx512_bf16 avx512f\n")
    monkeypatch.setattr(machine, "_CPUS", tmp_path / "cpuinfo")
    assert build_machine(()).cpu_has_bf16
    (tmp_path / "cpuinfo").write_text("flags\t\t: fpu avx512f\n")
    assert not build_machine(()).cpu_has_bf16
