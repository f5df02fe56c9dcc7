"""What precedes a session of a sweep: the cluster, and a spec that is checked against it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from service.base.collection import collect_later
from service.run.user_code import fingerprint_code, pin_code
from service.spec.model import SweepSpec
from service.sweep.environment import use_ray_token
from trainables.config.code_policy import get_policy

if TYPE_CHECKING:
    from service.cluster.connection import Cluster
    from service.cluster.inventory import Inventory
    from service.run.ranges import Ranges
    from service.study.slot_flow import Widths
    from trainables.config.code_files import CodeFile
    from trainables.data.rows import Rows
    from trainables.loops.rehearsal import LoopFindings


@contextmanager
def start_cluster(
    ray_address: str | None, spec: SweepSpec, *, early: bool = True
) -> Iterator[Cluster]:
    """The cluster for a sweep; a new Ray here starts ``early``, while the sweep is examined."""
    use_ray_token()
    from service.cluster.connection import Cluster

    found = Cluster(ray_address)
    tables = spec.data is not None and spec.data.has_columns
    own = found.start_early(spec.resources, tables=tables)
    with own if early else nullcontext(found) as cluster:
        with collect_later():
            import_module("service.run.sweep_session")  # torch and all that a driver needs
        yield cluster


@dataclass(frozen=True)
class Prepared:
    """A valid spec's samples, how many processes fit, and the files of its code.

    Each process trains up to ``widths`` trials at once.
    ``not_neutral`` says what regularises the baseline all the same, ``ranges`` what the space's
    ranges of λ mean, if they were measured, ``loop`` what is known of the user's training loop.
    """

    rows: Rows
    slots: int
    code: tuple[CodeFile, ...]
    not_neutral: tuple[str, ...]
    ranges: Ranges | None
    loop: LoopFindings | None
    widths: Widths


def prepare(
    spec: SweepSpec,
    source: str,
    cluster: Cluster,
    shared: Sequence[Path],
    joined: ExitStack,
    *,
    measure_ranges: bool = True,
) -> Prepared:
    """Check a spec against its data and network and, in parallel, against the cluster.

    All nodes of a cluster with several nodes must see the ``shared`` folders. This process stays
    connected to the cluster, if it has an address, until ``joined`` is closed. Ranges of λ need not
    be measured again for a sweep that has begun.

    Raises:
        SpecError: the sweep would fail; lists all problems that were found.
        InputError: the cluster cannot be reached, is too small or does not fit the executor.
    """
    from service.run.lane_plan import plan_lanes
    from service.run.preflight import run_preflight
    from service.run.sweep_session import check_executor

    check_executor(spec, cluster)
    with ThreadPoolExecutor(1) as executor:
        inventory = executor.submit(_take_inventory, cluster, shared, joined)
        code = fingerprint_code(spec, get_policy().all_folders)
        pin_code(code)
        found = run_preflight(spec, source, measure_ranges=measure_ranges)
        slots = inventory.result().check(spec)
        lanes = plan_lanes(spec, source, found, slots)
        seen = (found.not_neutral, found.ranges, found.loop)
        return Prepared(found.rows, slots, code, *seen, lanes.widths)


def _take_inventory(cluster: Cluster, shared: Sequence[Path], joined: ExitStack) -> Inventory:
    joined.enter_context(cluster.join())
    return cluster.take_inventory(shared)
