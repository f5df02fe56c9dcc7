"""A cluster's resources, and whether the trials of a spec fit on it. Imports no Ray."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from search_spaces.unknown_names import join_names
from service.base.errors import InputError
from service.spec.model import SweepSpec
from service.spec.resources import Resources
from trainables.config.precision import PRECISIONS, Precision
from trainables.machine import Machine


@dataclass(frozen=True)
class Node:
    """A machine of a cluster; ``cpus`` and ``gpus`` are available for trials."""

    name: str
    machine: Machine
    cpus: float
    gpus: float

    def count_workers(self, resources: Resources) -> int:
        """Count the workers that fit on the node."""
        most = int(self.cpus / resources.worker_cpus + 1e-9)
        if not resources.gpus:
            return most
        if resources.worker_gpus < 1:  # a worker's fraction of a GPU is on a single GPU
            return min(most, int(self.gpus) * int(1 / resources.worker_gpus + 1e-9))
        return min(most, int(self.gpus / resources.worker_gpus))


@dataclass(frozen=True)
class Inventory:
    """A cluster's nodes, at least one."""

    nodes: tuple[Node, ...]

    def count_trials(self, resources: Resources) -> int:
        """Count the trials that fit at the same time."""
        fitting = [node.count_workers(resources) for node in self.nodes]
        if resources.placement == "strict_pack":
            return sum(workers // resources.workers for workers in fitting)
        return sum(fitting) // resources.workers

    def count_slots(self, resources: Resources) -> int:
        """Count the trials that will run at the same time, at most ``resources.concurrent``.

        Raises:
            InputError: no trial fits; the text names what is missing and what the cluster has.
        """
        room = self.count_trials(resources)
        if room:
            return min(resources.concurrent, room)
        for key, what, wanted, one, has in (
            ("gpus", "GPU", resources.gpus, resources.worker_gpus, [n.gpus for n in self.nodes]),
            ("cpus", "CPU", *_count_cpus(resources), [n.cpus for n in self.nodes]),
        ):
            problem = self._describe_shortage(resources, what, wanted, one, has)
            if problem:
                raise InputError(f"resources.{key}: {problem}")
        raise InputError(
            f"resources: no {format_count(resources.workers, 'worker')} of "
            f"{resources.worker_cpus:g} CPUs and {resources.worker_gpus:g} GPUs each "
            f"fit together; {self._describe_nodes()}"
        )

    def check(self, spec: SweepSpec) -> int:
        """Count the trials of a spec that will run at the same time.

        Raises:
            InputError: no trial fits, or a device does not support what the training needs.
        """
        slots = self.count_slots(spec.resources)
        able = [node for node in self.nodes if node.count_workers(spec.resources)]
        asked = _list_values(spec, "precision", spec.training.precision)
        for precision in (p for p in PRECISIONS if p in asked):
            _check_precision(able, precision, on_gpus=spec.resources.gpus > 0)
        if True in _list_values(spec, "compile", spec.training.compile):
            _check_compiler(able)
        return slots

    def _describe_shortage(
        self, resources: Resources, what: str, wanted: float, one: float, has: Sequence[float]
    ) -> str:
        """Explain why a trial cannot get an amount of a resource; empty if it can."""
        if wanted > sum(has):
            instead = "; set it to 0 to train on CPUs" if what == "GPU" and not sum(has) else ""
            return f"a trial needs {format_count(wanted, what)}; {self._describe_nodes()}{instead}"
        if one > max(has):
            needed = format_count(one, what)
            return f"a worker needs {needed}, which no node has; {self._describe_nodes()}"
        if resources.placement == "strict_pack" and wanted > max(has):
            return (
                f"a trial needs {format_count(wanted, what)} on one node (placement: strict_pack), "
                f"which none has; {self._describe_nodes()}; pack and spread use several nodes"
            )
        return ""

    def _describe_nodes(self) -> str:
        def words(name: str, cpus: float, gpus: float) -> str:
            shown = format_count(gpus, "GPU") if gpus else "no GPU"
            return f"{name} has {format_count(cpus, 'CPU')} and {shown}"

        if len(self.nodes) == 1:
            return words("the machine", self.nodes[0].cpus, self.nodes[0].gpus)
        each = ", ".join(words(n.name, n.cpus, n.gpus) for n in self.nodes)
        total = (sum(n.cpus for n in self.nodes), sum(n.gpus for n in self.nodes))
        return f"{words('the cluster', *total)} ({each})"


def _check_precision(nodes: Sequence[Node], precision: Precision, *, on_gpus: bool) -> None:
    for node in nodes:
        if not on_gpus and not node.machine.can(precision):
            valid = join_names([p for p in PRECISIONS if node.machine.can(p)], " or ")
            raise InputError(
                f"training.precision: the CPUs of {node.name} do not support {precision}; "
                f"use {valid}"
            )
        for gpu in node.machine.gpus if on_gpus else ():
            if not gpu.can(precision):
                capability = ".".join(map(str, gpu.capability))
                raise InputError(
                    f"training.precision: the {gpu.name} of {node.name} does not support "
                    f"{precision} (it needs compute capability 8.0, this has {capability}); "
                    "use fp32"
                )


def _check_compiler(nodes: Sequence[Node]) -> None:
    for node in nodes:
        if node.machine.compiler is None:
            raise InputError(
                f"training.compile: {node.name} has no C++ compiler; install one (g++), name it in "
                "CXX, or set compile to false"
            )


def _list_values(spec: SweepSpec, name: str, fixed: object) -> tuple[object, ...]:
    """List every value of a key of ``training``: its choices if it is searched, else ``fixed``."""
    parameter = spec.space.parameters.get(name)
    return (fixed,) if parameter is None else parameter.choices()


def _count_cpus(resources: Resources) -> tuple[float, float]:
    return resources.worker_cpus * resources.workers, resources.worker_cpus


def format_count(count: float, what: str) -> str:
    """Format a count with its noun, in the plural unless the count is 1."""
    return f"{count:g} {what}" if count == 1 else f"{count:g} {what}s"
