"""What is used of Ray beyond its documentation is still there, on a real Ray."""

from __future__ import annotations

import os
import signal
import subprocess
from importlib.metadata import version
from secrets import token_hex
from typing import Any

import pytest
import ray
from ray.exceptions import RayActorError

from service.cluster.compat import (
    NO_IDLE_WORKERS,
    build_ray_command,
    find_start_failure,
    run_ray,
)
from tests.rays import pids, read
from tests.versions import ray_moved


def test_rays_command_line_starts() -> None:
    words = [*build_ray_command(), "--version"]
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.stdout.strip().endswith(version("ray")), ray_moved(
        f"{' '.join(words)} prints {done.stdout!r} {done.stderr!r}"
    )


def test_handlers_are_left_alone_fates_are_told_apart_and_no_process_is_idle(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    mark = token_hex(8)
    for name, value in {"GAPSWEEP_TEST_MARK": mark, **NO_IDLE_WORKERS}.items():
        monkeypatch.setenv(name, value)

    def handler(*_: Any) -> None:
        pass

    before = signal.signal(signal.SIGTERM, handler)
    try:
        with run_ray(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False):
            assert signal.getsignal(signal.SIGTERM) is handler, ray_moved(
                "ray.init sets a SIGTERM handler on another thread than the main one too"
            )
            assert ray.get(ray.put(3)) == 3
            own = [read(p, "cmdline") for p in pids() if mark.encode() in read(p, "environ")]
            idle = [w for w in own if w.startswith(b"ray::IDLE") or b"default_worker.py\0" in w]
            assert not idle, ray_moved("a node starts processes that have nothing to run")
            started, died = _failures()
        assert not ray.is_initialized()
    finally:
        signal.signal(signal.SIGTERM, before)
    assert find_start_failure(started) == "ValueError: no such device", ray_moved(
        f"of an actor whose constructor raises it now says {str(started)!r}"
    )
    assert find_start_failure(died) is None, ray_moved(
        f"of an actor that died it now says {str(died)!r}"
    )


def _failures() -> tuple[RayActorError, RayActorError]:
    """Of an actor whose constructor raises, and of one that dies at work."""

    class Broken:
        def __init__(self) -> None:
            raise ValueError("no such device")

        def work(self) -> None:
            pass

    class Dying:
        def work(self) -> None:
            os._exit(7)

    found = []
    for kind in (Broken, Dying):
        with pytest.raises(RayActorError) as raised:
            ray.get(ray.remote(kind).remote().work.remote())
        found.append(raised.value)
    return found[0], found[1]
