"""Every use of undocumented behaviour of Ray.

Each function names what it relies on; ``tests/unit/test_compat.py`` fails when Ray changes it. Ray
is imported inside functions: the service imports this module but never joins a cluster.
"""

from __future__ import annotations

import gc
import json
import os
import pickle
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any

from service.cluster import fork_server, start_worker

if TYPE_CHECKING:
    from ray.exceptions import RayActorError, RayTaskError
    from ray.job_config import JobConfig
    from ray.job_submission import JobSubmissionClient

_PART = 2**16
_LONGEST_ESCAPE = 12
CHECKED_WITH = "2.60.0"
"""The version of Ray with which this module was last checked."""


MAX_RAY_FOLDER = 40
"""Bytes. Ray 2.60 listens at FOLDER/session_DATE_TIME_MICROSECONDS_PID/sockets/plasma_store, and
the path of a Unix socket has at most 107 bytes."""


def get_ray_folder() -> Path:
    """The folder in which a new Ray of this machine puts its sessions."""
    from ray._common.utils import get_default_ray_temp_dir

    return Path(get_default_ray_temp_dir())  # type: ignore[no-untyped-call]  # ray leaves it untyped


RAY_WORKER_PORTS = range(10002, 20000)
"""The ports of Ray's workers: the defaults of ``ray start``'s --min- and --max-worker-port."""

LOCAL_RAY = {
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    "RAY_START_HOOK": f"{__name__}.prepare_ray_start",
}
"""The environment of a ``ray start`` whose servers all listen on localhost.

Ray 2.60 replaces a node's address 127.0.0.1 by the machine's unless clusters are switched off, as
they are on macOS and Windows; its servers listen on localhost if that is the node's address.
"""

NO_IDLE_WORKERS = {"RAY_enable_worker_prestart": "0", "RAY_prestart_worker_first_driver": "0"}
"""The environment of a node that starts processes only for what they have to run.

Ray 2.60 starts a process for each CPU with a node, and as soon as a driver connects. Tune's actors
have an environment of their own, so that none of these ever trains.
"""

NO_SIGNAL_HANDLERS = {"RAY_DISABLE_FAILURE_SIGNAL_HANDLER": "1"}
"""The environment of a driver whose own handlers stay when Ray starts on another thread.

Ray 2.60 puts one before that of SIGTERM, too, which prints the stack of every signal, and ends the
process if that takes 3 s. Its workers have Python's ``faulthandler`` all the same.
"""

_MODULES, _USED = "--modules-to-load=", "JobHead,NodeHead,ReportHead,StateHead"
"""The option of the dashboard's program, and the modules that are used."""

SLOW_START = 300.0
"""Seconds that a node may take to start."""


def prepare_ray_start(parameters: Any, head: bool) -> None:
    """The hook of ``ray start``: only processes that are used, workers that start fast, patience.

    Ray 2.60 has no option for any of them. A command that stays with its node (``--block``) forks
    its workers, and a head's drivers, from a server that starts after the node: a raylet ends if
    its agents take too long to start beside other imports. Nothing here uses the server for Ray's
    client, the monitor of logs (no driver prints those of its workers), most modules of the
    dashboard, or, unless nodes are to be added, the monitor of the autoscaler. Ray gives a node
    30 s to start, in a loop around ``services.get_node``, which raises ``RuntimeError`` until the
    node is there. It does not look whether the raylet has ended; then this command ends, and who
    keeps the node starts it again.
    """
    from ray._private import services

    parameters.ray_client_server_port = None
    parameters.include_log_monitor = False
    parameters.no_monitor = parameters.no_monitor or parameters.autoscaling_config is None
    parameters.setup_worker_path = start_worker.__file__
    os.environ[start_worker.RAYS_OWN] = _find_setup_worker()
    os.environ.update(NO_IDLE_WORKERS)  # the node's processes inherit it
    modules = fork_server.OF_DRIVERS if head else fork_server.OF_TABLES
    begin = fork_server.plan_fork_server(*modules) if "--block" in sys.argv else lambda: None
    _load_less_of_dashboard(services)
    _wait_patiently(services, begin)


def _load_less_of_dashboard(services: Any) -> None:
    """Have the dashboard load its APIs of jobs, nodes, state and health: each is a process.

    Ray 2.60 starts its processes by ``services.start_ray_process(command, type, …)``. The program
    of the dashboard takes the names of modules, which no option of ``ray start`` sets. ``NodeHead``
    tells ``JobHead`` of nodes, and ``ReportHead`` answers for the health of all.
    """
    start = services.start_ray_process

    def start_less(command: list[str], process_type: str, *rest: Any, **more: Any) -> Any:
        chosen = any(word.startswith(_MODULES) for word in command)
        if process_type == "dashboard" and not chosen:
            command = [*command, f"{_MODULES}{_USED}"]
        return start(command, process_type, *rest, **more)

    services.start_ray_process = start_less


def _wait_patiently(services: Any, begin: Callable[[], object]) -> None:
    """Wait for a node longer than Ray does, but not for one whose raylet has ended."""
    ask, start = services.get_node, services.start_raylet
    raylets: list[subprocess.Popen[bytes]] = []

    def start_and_keep(*arguments: Any, **more: Any) -> Any:
        started = start(*arguments, **more)
        raylets.append(started.process)
        return started

    def ask_patiently(*arguments: Any) -> Any:
        deadline = time.monotonic() + SLOW_START
        while True:
            try:
                found = ask(*arguments)
                begin()
                return found
            except RuntimeError:
                if any(raylet.poll() is not None for raylet in raylets):
                    sys.exit("error Ray's raylet ended while the node started; see raylet.err")
                if time.monotonic() > deadline:
                    raise
            time.sleep(0.5)

    services.get_node, services.start_raylet = ask_patiently, start_and_keep


class StartingRay:
    """A Ray that starts on a thread of its own, while others go on, and stays until it is stopped.

    On the main thread, ``ray.init`` of Ray 2.60 replaces the handler of SIGTERM; an exception that
    its handler raises while Ray starts is lost, and the signal with it. On another thread it does
    not change signal handlers. That thread lives until Ray is shut down, because Linux ends Ray's
    processes together with the thread that started them.
    """

    def __init__(
        self, make_arguments: Callable[[], Mapping[str, Any]], prestarted: int = 0
    ) -> None:
        """``make_arguments`` returns those of ``ray.init``, on the thread, which imports Ray.

        So many processes for trials of Tune are ``prestarted``, at least.
        """
        self._make_arguments, self._prestarted = make_arguments, prestarted
        self._started, self._settled = threading.Event(), threading.Event()
        self._unwanted, self._ended = threading.Event(), threading.Event()
        self._begun = False
        self._error: BaseException | None = None
        threading.Thread(target=self._live, name="ray.init", daemon=True).start()

    @property
    def stopped(self) -> bool:
        """Whether :meth:`stop` was called."""
        return self._ended.is_set()

    def wait(self) -> None:
        """Wait until Ray runs.

        Raises:
            Exception: as ``make_arguments`` and ``ray.init`` do.
        """
        self._started.wait()
        if self._error is not None:
            raise self._error

    def stop(self) -> None:
        """End Ray; one that is just starting has to be there first. A second call does nothing."""
        if self.stopped:
            return
        self._unwanted.set()
        self._settled.wait()
        if self._begun:
            import ray

            gc.collect()  # releasing a reference after the shutdown would end the process
            ray.shutdown()
        self._ended.set()

    def _live(self) -> None:
        try:
            import ray

            arguments = self._make_arguments()
            if not self._unwanted.is_set():
                self._begun = True
                with _start_what_is_used(own=arguments.get("address") == "local"):
                    ray.init(job_config=make_job_config(), **arguments)
        except BaseException as error:
            self._error = error
        self._started.set()
        if self._error is None and self._prestarted and not self._unwanted.is_set():
            _prestart_processes(self._prestarted)
        self._settled.set()
        self._ended.wait()


@contextmanager
def run_ray(**arguments: Any) -> Iterator[None]:
    """Run Ray for the duration of the block, see :class:`StartingRay`.

    Raises:
        ConnectionError, ValueError, RuntimeError: as ``ray.init`` does.
    """
    starting = StartingRay(lambda: arguments)
    try:
        starting.wait()
        yield
    finally:
        starting.stop()


@contextmanager
def _start_what_is_used(*, own: bool) -> Iterator[None]:
    """Start no server of a Ray of our ``own`` that nothing here asks, and have its workers forked.

    A node of Ray 2.60 has an autoscaler's monitor, a monitor of logs whatever ``log_to_driver``
    says, and the dashboard's API whatever ``include_dashboard`` says: a second and more of
    interpreters that start, and ``ray.init`` waits for the last one. It starts workers by a script
    that it looks for by a name in a folder of its own.
    """
    if not own:
        yield
        return
    from ray._private import ray_constants
    from ray._private.node import Node

    replaced: dict[tuple[Any, str], Any] = {
        (Node, "start_monitor"): _skip,
        (Node, "start_log_monitor"): _skip,
        (Node, "start_api_server"): _skip,
        (ray_constants, "SETUP_WORKER_FILENAME"): start_worker.__file__,
    }
    before = {place: getattr(*place) for place in replaced}
    os.environ[start_worker.RAYS_OWN] = _find_setup_worker()
    for place, value in replaced.items():
        setattr(*place, value)
    try:
        yield
    finally:
        for place, value in before.items():
            setattr(*place, value)


def _find_setup_worker() -> str:
    """The script by which Ray 2.60 starts a worker."""
    from ray._private.workers import setup_worker

    return setup_worker.__file__


def _skip(*_: Any, **__: Any) -> None:
    pass


TUNE_ENVIRONMENT = {"PL_DISABLE_FORK": "1"}
PROPAGATED_TO_TUNE = re.compile(
    "AWS_(ACCESS_KEY_ID|SECRET_ACCESS_KEY|SECURITY_TOKEN|SESSION_TOKEN)|NCCL_RAS_ADDR|RAY_TRAIN_.*|"
    "RAY_(CHDIR_TO_TRIAL_DIR|WARN_BLOCKING_GET_INSIDE_ASYNC)|TORCHFT_LIGHTHOUSE|"
    "TRAIN_COPY_DIRECTORY_CHECKPOINTS_INSTEAD_OF_MOVING"
)
"""The environment of Tune's actors in Ray 2.60, and what they take of the driver's, by
``ray.tune.execution.class_cache``, which takes a second to import."""


def _prestart_processes(count: int) -> None:
    """Start processes that Tune's actors will be given, before there is an actor.

    Ray 2.60 starts a process for a task that it is asked to run, and one more; an actor takes a
    process of its own environment that has not run anything. So the tasks are taken back before a
    process is there. A process that no actor takes is idle until Ray ends.
    """
    import ray

    propagated = {n: v for n, v in os.environ.items() if PROPAGATED_TO_TUNE.fullmatch(n)}
    environment = {"env_vars": {**TUNE_ENVIRONMENT, **propagated}}
    with suppress(Exception):  # the actors start their processes themselves then
        wanted = ray.remote(num_cpus=1, runtime_env=environment)(_skip)
        tasks = [wanted.remote() for _ in range(count)]
        time.sleep(_ASKED)
        for task in tasks:
            ray.cancel(task)


_ASKED = 0.3
"""Seconds after which a node has been asked for a task's process, which starts for longer."""


def build_ray_command() -> list[str]:
    """Build the command that starts Ray's command line with this interpreter.

    The script ``ray`` of Ray 2.60 calls ``ray.scripts.scripts:main`` but may not be on the PATH.
    """
    return [sys.executable, "-P", "-m", "ray.scripts.scripts"]


def make_job_client(address: str, timeout: float) -> JobSubmissionClient:
    """Create a job client whose requests time out after ``timeout`` seconds.

    Every call of ``JobSubmissionClient`` in Ray 2.60 goes through ``_do_request``, which passes its
    keyword arguments to ``requests``; the public methods take no timeout.
    """
    from ray.job_submission import JobSubmissionClient

    class Client(JobSubmissionClient):
        def _do_request(self, method: str, endpoint: str, **more: Any) -> Any:
            return super()._do_request(method, endpoint, **{"timeout": timeout, **more})

    return Client(address)


def read_log_tail(client: JobSubmissionClient, name: str, characters: int) -> str:
    """Read the last lines of a job's log, which may be larger than this process's memory.

    The dashboard of Ray 2.60 answers ``/api/jobs/NAME/logs`` with ``{"logs": TEXT}``, of which
    ``get_job_logs`` reads all at once.
    """
    tail = b""
    with client._do_request("GET", f"/api/jobs/{name}/logs", stream=True) as answer:
        if answer.status_code != HTTPStatus.OK:
            return ""
        for part in answer.iter_content(_PART):
            tail = (tail + part)[-8 * characters :]
    return decode_log_tail(tail, characters)


def decode_log_tail(tail: bytes, characters: int) -> str:
    """The text at the end of ``{"logs": TEXT}``, of which the beginning may be missing."""
    text = tail.decode(errors="replace").removeprefix('{"logs": "').rpartition('"')[0]
    for start in range(_LONGEST_ESCAPE):  # it may begin inside of an escape
        with suppress(ValueError):
            return str(json.loads(f'"{text[start:]}"'))[-characters:]
    return text[-characters:]


def is_unknown_job(error: Exception) -> bool:
    """Whether a job client's error means that the cluster has no such job.

    Ray 2.60 raises a plain ``RuntimeError`` with the server's text.
    """
    return isinstance(error, RuntimeError) and "does not exist" in str(error)


def get_actor(trial: Any) -> Any:
    """The handle of a running Tune trial's actor, which Tune 2.60 keeps with the trial.

    Calls through it come in order with Tune's own.
    """
    return trial.temporary_state.ray_actor


def read_error(trial: Any) -> RayTaskError | RayActorError | None:
    """Read the last error of a Tune trial's actor: its exception, or the death of its process.

    Tune 2.60 pickles the error into the file that ``Trial.pickled_error_file`` names.
    """
    from ray.exceptions import RayActorError, RayTaskError

    file = trial.pickled_error_file
    try:
        error = pickle.loads(Path(file).read_bytes()) if file else None
    except Exception:  # unpickling a user-defined exception may fail
        return None
    return error if isinstance(error, (RayTaskError, RayActorError)) else None


def is_lost_with_node(error: RayActorError) -> bool:
    """Whether an actor's process ended with its node, or the connection to it was lost.

    Ray 2.60 has ``preempted`` for a node that its owner took back, ``ActorUnavailableError`` for a
    lost connection, and for any other node only the text of ``ActorDiedError``.
    """
    from ray.exceptions import ActorUnavailableError

    lost = error.preempted or isinstance(error, ActorUnavailableError)
    return lost or "node has died" in str(error) or "node was lost" in str(error)


def find_start_failure(error: RayActorError) -> str | None:
    """Return the error of an actor's constructor; None if the actor died later.

    Ray 2.60 raises ``RayActorError`` in both cases; if the constructor failed, the text names the
    creation task and ends with the exception.
    """
    words = str(error).strip().splitlines()
    return words[-1] if words and "creation task" in words[0] else None


def find_bundle_folders() -> tuple[str, ...]:
    """The folders on this process's path in which Ray has put the job's ``py_modules``.

    Ray 2.60 unpacks each into a folder of its own below ``py_modules_files``, in its temporary
    folder, and puts them first in PYTHONPATH of the job's driver and workers.
    """
    return tuple(p for p in sys.path if Path(p).parent.name == "py_modules_files")


def make_job_config() -> JobConfig:
    """Create the settings of a job whose workers do not import from the driver's directories.

    Ray 2.60 extends ``_py_driver_sys_path`` by the directory in which ``ray.init`` is called and by
    the script's, and puts both first on ``sys.path`` of every worker, before the job's modules and
    whatever PYTHONSAFEPATH says.
    """
    from ray.job_config import JobConfig

    class Nothing(list[str]):
        def extend(self, values: Iterable[str]) -> None:
            pass

    config = JobConfig()
    config._py_driver_sys_path = Nothing()
    return config
