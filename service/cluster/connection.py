"""Connects a sweep to a Ray cluster, new or running, and inspects the nodes."""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, redirect_stdout
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

from service.base.errors import InputError
from service.base.versions import require_same_version
from service.cluster.compat import (
    MAX_RAY_FOLDER,
    NO_IDLE_WORKERS,
    NO_SIGNAL_HANDLERS,
    StartingRay,
    get_ray_folder,
    run_ray,
)
from service.cluster.fork_server import OF_TABLES, run_fork_server
from service.cluster.inventory import Inventory, Node
from service.cluster.node_inspection import inspect_this_node
from service.spec.resources import Resources
from trainables.machine import Machine, describe_machine

_QUIET: Mapping[str, str] = {
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # CSV, JSON and TensorBoard files are not used
    "TUNE_GLOBAL_CHECKPOINT_S": "1000000",  # a sweep resumes from its study
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # the sweep handles the signal
    "TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "0",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_DEDUP_LOGS": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_idle_worker_killing_time_threshold_ms": "600000",  # while a sweep is examined
    **NO_IDLE_WORKERS,
}


@dataclass(frozen=True)
class Cluster:
    """A running Ray cluster by its address; without an address, a new Ray on this machine.

    ``starting`` is one that :meth:`start_early` has started, for the first :meth:`connect`.
    """

    address: str | None = None
    starting: StartingRay | None = field(default=None, compare=False)

    @contextmanager
    def start_early(self, resources: Resources, *, tables: bool = False) -> Iterator[Cluster]:
        """Start a new Ray on this machine for these resources while the block goes on.

        Its workers are forked, and those of its first trials import what they train with; if they
        encode ``tables``, they are forked with what that needs. The cluster that is returned
        connects to that Ray; what is left of it ends with the block. For a running cluster, and
        for trials without Ray, nothing is started. Until the block ends, SIGHUP is ignored, because
        the processes of Ray would end with the terminal, and SIGTERM acts as Ctrl-C.
        """
        if self.address is not None or resources.executor == "local" or _is_connected():
            yield self
            return
        settings = {**_QUIET, **NO_SIGNAL_HANDLERS}
        os.environ.update({k: v for k, v in settings.items() if k not in os.environ})
        with _handle_signals(), run_fork_server(*(OF_TABLES if tables else ())):
            starting = StartingRay(
                lambda: _list_own_arguments(resources), _count_prestarted(resources)
            )
            try:
                yield replace(self, starting=starting)
            finally:
                starting.stop()

    def take_inventory(self, shared: Sequence[Path] = ()) -> Inventory:
        """Inspect the nodes. With several nodes, every node must see the ``shared`` folders.

        Raises:
            InputError: the cluster cannot be reached, a node cannot be inspected, or a node does
                not see a folder.
        """
        if self.address is None:
            try:
                found = describe_machine()
            except RuntimeError as error:
                raise InputError(str(error)) from None
            return Inventory((Node("this machine", found, found.cpus, len(found.gpus)),))
        with self.connect(Path(os.devnull)):
            return Inventory(tuple(_inspect_nodes(shared)))

    @contextmanager
    def connect(self, log: Path) -> Iterator[None]:
        """Start Ray on this machine, or connect to the cluster; disconnect at the end of the block.

        Ray's messages about dying workers are written to ``log``, because the terminal shows the
        sweep's progress. A nested block uses the connection of the outer block.

        Raises:
            InputError: the cluster cannot be reached, or Ray cannot be started here.
        """
        with log.open("a", encoding="utf-8") as words, redirect_stdout(words), self._connect():
            yield

    @contextmanager
    def join(self) -> Iterator[None]:
        """Stay connected to the cluster, if there is one to connect to, between nested blocks.

        Raises:
            InputError: the cluster cannot be reached.
        """
        if self.address is None:
            yield
            return
        with self._connect():
            yield

    @contextmanager
    def _connect(self) -> Iterator[None]:
        os.environ.update({k: v for k, v in _QUIET.items() if k not in os.environ})
        if self.address is not None:
            _check_reachable(self.address)
        if self.starting is None or self.starting.stopped:
            import ray

            if ray.is_initialized():
                yield
                return
        with ExitStack() as running:
            try:
                running.enter_context(self._run())
            except InputError:
                raise
            except Exception as error:  # Ray raises plain ones, too, for example after a time
                first = (str(error).strip().splitlines() or [type(error).__name__])[0]
                if self.address is None:
                    raise InputError(f"Ray could not be started here: {first}") from None
                raise _make_unreachable_error(self.address, first) from None
            yield

    @contextmanager
    def _run(self) -> Iterator[None]:
        """Run the Ray that was started early, or another; it ends with the block."""
        if self.starting is None or self.starting.stopped:
            arguments = {"address": self.address, **_SILENT} if self.address else None
            with run_ray(**(arguments or _list_own_arguments())):
                yield
            return
        try:
            self.starting.wait()
            yield
        finally:
            self.starting.stop()


_SILENT: Mapping[str, Any] = {
    "log_to_driver": False,
    "configure_logging": True,
    "logging_level": logging.ERROR,
}
_WARM_UP = "service.cluster.warm_up.import_training"


def _list_own_arguments(resources: Resources | None = None) -> Mapping[str, Any]:
    """What ``ray.init`` is called with to start Ray here; with resources, for trials of these.

    Raises:
        InputError: see :func:`_find_ray_folder`.
    """
    warm = {"runtime_env": {"worker_process_setup_hook": _WARM_UP}}
    return {
        "address": "local",
        "num_cpus": os.cpu_count(),
        "include_dashboard": False,
        "_temp_dir": str(_find_ray_folder()),
        **_SILENT,
        **(warm if resources is not None and resources.workers == 1 else {}),
    }


def _count_prestarted(resources: Resources) -> int:
    """How many processes to start early: Ray adds one, and a group's start by themselves."""
    if resources.workers > 1:
        return 0
    slots = int((os.cpu_count() or 1) / resources.worker_cpus)
    return max(1, min(resources.concurrent, slots) - 1)


def _is_connected() -> bool:
    """Whether this process is connected to a Ray already, without importing Ray."""
    ray = sys.modules.get("ray")
    return ray is not None and bool(ray.is_initialized())


@contextmanager
def _handle_signals() -> Iterator[None]:
    """Ignore SIGHUP, and treat SIGTERM as Ctrl-C if it would end the process at once.

    Does nothing outside of the main thread, which alone can handle signals.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGHUP, signal.SIGTERM)}
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    if before[signal.SIGTERM] is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _find_ray_folder() -> Path:
    """The folder of Ray's files and sockets: where Ray puts it, or in /tmp if that is too long.

    Raises:
        InputError: the folder's path is too long, and /tmp cannot be written.
    """
    wanted = get_ray_folder()
    if len(os.fsencode(wanted)) <= MAX_RAY_FOLDER:
        return wanted
    if not os.access("/tmp", os.W_OK):
        raise InputError(
            f"Ray cannot put its sockets below {wanted}: the path has "
            f"{len(os.fsencode(wanted))} bytes, and {MAX_RAY_FOLDER} are the most; set RAY_TMPDIR "
            "to a folder with a shorter path"
        )
    return Path("/tmp/ray")


def _check_reachable(address: str) -> None:
    """Check that the port answers within 5 s; ``ray.init`` would retry for half a minute."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit() or "/" in host:  # `auto`, or a client's address
        return
    try:
        socket.create_connection((host, int(port)), timeout=5).close()
    except OSError as error:
        raise _make_unreachable_error(address, error.strerror or str(error)) from None


def _make_unreachable_error(address: str, why: str) -> InputError:
    return InputError(
        f"no Ray cluster answers at {address} ({why}); `ray status` shows whether one runs, and "
        "without --ray-address this machine is used"
    )


def _inspect_nodes(shared: Sequence[Path]) -> Iterator[Node]:
    """Inspect every node that is alive, by a task on that node.

    A task starts a process on its node, and one more. So this process inspects its own node itself,
    unless that has GPUs, of which this process may see others than Ray does.
    """
    import ray

    alive = [node for node in ray.nodes() if node["Alive"]]  # type: ignore[no-untyped-call]  # ray leaves it untyped
    here = ray.get_runtime_context().get_node_id()
    with _place_marks(shared if len(alive) > 1 else ()) as marks:
        looks = [(node, _begin_inspection(node, here, list(marks.values()))) for node in alive]
        for node, look in looks:
            try:
                yield _read_node(node, look(), marks)
            except ray.exceptions.RayError as error:
                if _is_alive(node):
                    last = str(error).strip().splitlines()[-1]
                    name = node["NodeManagerHostname"]
                    raise InputError(f"the node {name} cannot be used: {last}") from None


def _begin_inspection(
    node: Mapping[str, Any], here: str, marks: Sequence[Path]
) -> Callable[[], Any]:
    """Begin to inspect a node; what is returned waits for the result.

    Raises:
        RayError: when it is called; the node did not answer.
    """
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    arguments = (marks, gpus := node["Resources"].get("GPU", 0) > 0)
    if node["NodeID"] == here and not gpus:
        return lambda: inspect_this_node(*arguments)
    strategy = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
    look = ray.remote(num_cpus=0)(inspect_this_node).options(scheduling_strategy=strategy)
    call = look.remote(*arguments)
    return lambda: ray.get(call)


def _is_alive(node: Mapping[str, Any]) -> bool:
    """Whether the cluster lists a node as alive; it notices the death of a node with a delay."""
    import ray

    found = {n["NodeID"]: n["Alive"] for n in ray.nodes()}  # type: ignore[no-untyped-call]  # ray leaves it untyped
    return bool(found.get(node["NodeID"], False))


def _read_node(
    node: Mapping[str, Any], found: tuple[str, Machine, list[Path]], marks: Mapping[Path, Path]
) -> Node:
    """Check the result of a node's inspection.

    Raises:
        InputError: the node does not see a folder, or has another version of gapsweep.
    """
    name, resources = node["NodeManagerHostname"], node["Resources"]
    version, machine, missing = found
    require_same_version(version, f"the node {name}", "this machine")
    for folder, mark in marks.items():
        if mark in missing:
            raise InputError(
                f"the node {name} does not see {folder}; put it on a file system that all nodes "
                "share (--home or GAPSWEEP_HOME name the home folder)"
            )
    return Node(name, machine, resources.get("CPU", 0.0), resources.get("GPU", 0.0))


@contextmanager
def _place_marks(folders: Sequence[Path]) -> Iterator[dict[Path, Path]]:
    """Create a temporary file in each folder, or in its nearest existing parent, as its mark.

    A folder that cannot be written is its own mark.
    """
    with ExitStack() as files:
        marks = {}
        for folder in folders:
            there = next(f for f in (folder, *folder.parents) if f.exists())
            try:
                file = files.enter_context(NamedTemporaryFile(prefix=".gapsweep-", dir=there))
                marks[folder] = Path(file.name)
            except OSError:
                marks[folder] = there
        yield marks
