"""The process-wide settings that a training changes, and restores."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from service.spec.model import SweepSpec
from trainables.config.code_policy import restore_policy


@contextmanager
def preserve_process_state() -> Iterator[None]:
    """Restore torch's threads and precision, the GPU memory limit, the path and policy on exit."""
    paths, threads = list(sys.path), torch.get_num_threads()
    precision, tf32 = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    share = torch.cuda.get_per_process_memory_fraction() if torch.cuda.is_available() else None
    try:
        with restore_policy():
            yield
    finally:
        sys.path[:] = paths
        torch.set_num_threads(threads)
        torch.set_float32_matmul_precision(precision)
        torch.backends.cudnn.allow_tf32 = tf32
        if share is not None:
            torch.cuda.set_per_process_memory_fraction(share)


@contextmanager
def use_threads_of_a_trial(spec: SweepSpec) -> Iterator[None]:
    """Give torch as many threads as a trial has: over small matrices more wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(max(1, int(spec.resources.worker_cpus)))
    try:
        yield
    finally:
        torch.set_num_threads(threads)
