"""What is used of Ray that its documentation does not promise, in one place.

Each function names what it relies on; ``tests/unit/test_compat.py`` says when that has moved. Ray
is imported where it is needed: the service reads this module and never joins a cluster.
"""

from __future__ import annotations

import gc
import pickle
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ray.exceptions import RayActorError, RayTaskError
    from ray.job_submission import JobSubmissionClient

CHECKED_WITH = "2.60.0"
"""The version of Ray that all of this was last checked with."""


@contextmanager
def run_ray(**arguments: Any) -> Iterator[None]:
    """``ray.init``, with this process's SIGTERM handler left as it is, and ``ray.shutdown``.

    On the main thread ``ray.init`` of Ray 2.60 puts a handler of its own in place of the process's;
    what that raises while Ray starts is lost, and with it the signal. On another thread it leaves
    signals alone, which is what is relied on here. That thread lives as long as Ray does: Linux
    ends Ray's processes with the thread that has started them.

    Raises:
        ConnectionError, ValueError, RuntimeError: as ``ray.init`` does.
    """
    import ray

    started, ended = threading.Event(), threading.Event()
    errors: list[BaseException] = []

    def live() -> None:
        try:
            ray.init(**arguments)
        except BaseException as error:
            errors.append(error)
        started.set()
        ended.wait()

    threading.Thread(target=live, name="ray.init", daemon=True).start()
    try:
        started.wait()
        if errors:
            raise errors[0]
        yield
    finally:
        gc.collect()  # a reference that is dropped later, on any thread, ends the process
        ray.shutdown()
        ended.set()


def build_ray_command() -> list[str]:
    """The words that start Ray's own command line with this interpreter.

    The script ``ray`` of Ray 2.60 calls ``ray.scripts.scripts:main``; it need not be on the PATH.
    """
    return [sys.executable, "-m", "ray.scripts.scripts"]


def make_job_client(address: str, timeout: float) -> JobSubmissionClient:
    """A client that gives up on a head that takes a request and never answers it.

    Every call of ``JobSubmissionClient`` in Ray 2.60 goes through ``_do_request``, which hands its
    keyword arguments to ``requests``; the public methods take no timeout.
    """
    from ray.job_submission import JobSubmissionClient

    class Client(JobSubmissionClient):
        def _do_request(self, method: str, endpoint: str, **more: Any) -> Any:
            return super()._do_request(method, endpoint, **{"timeout": timeout, **more})

    return Client(address)


def is_unknown_job(error: Exception) -> bool:
    """Whether a job client's error says that the cluster has no such job.

    In Ray 2.60 that is a ``RuntimeError`` like any other, with the server's text.
    """
    return isinstance(error, RuntimeError) and "does not exist" in str(error)


def read_error(trial: Any) -> RayTaskError | None:
    """What a Tune trial's actor raised last; None where its process died without an exception.

    Tune 2.60 pickles the error into the file that ``Trial.pickled_error_file`` names.
    """
    from ray.exceptions import RayTaskError

    file = trial.pickled_error_file
    try:
        error = pickle.loads(Path(file).read_bytes()) if file else None
    except Exception:  # an exception of the user's need not survive pickling
        return None
    return error if isinstance(error, RayTaskError) else None


def find_start_failure(error: RayActorError) -> str | None:
    """Why an actor did not start, as its constructor says; None of one that died later.

    In Ray 2.60 both are ``RayActorError``; the text of the first names the creation task and ends
    with the exception.
    """
    words = str(error).strip().splitlines()
    return words[-1] if words and "creation task" in words[0] else None
