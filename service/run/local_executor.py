"""Runs trials sequentially in this process, without Ray.

For notebooks, for a breakpoint inside a trial, and for tests. Records, checkpoints and reasons are
the same as with Ray. Two things differ: a trial that kills its process ends the sweep, which can be
resumed, and a stop waits for the end of the running epoch.
"""

from __future__ import annotations

import time
from bdb import BdbQuit
from collections.abc import Iterator

from service.cluster.worker import TrialContext, Worker
from service.run.process_state import preserve_process_state
from service.study.messages import Assignment, EpochReport, TrialFailure
from service.study.session import Decision
from service.study.trial_flow import NoTrial, TrialFlow

POLL = 0.1
"""Seconds between two requests for a trial while none may start."""


def run_trials_here(flow: TrialFlow, context: TrialContext) -> None:
    """Run trials until the flow has none left or requests a stop; stores an error in the flow.

    Raises:
        KeyboardInterrupt: Ctrl-C interrupted a trial, or a debugger in it was quit; the trial
            stays running in the study and is resumed with the sweep.
    """
    with preserve_process_state():
        worker = Worker(context)
        try:
            for assignment in _take_assignments(flow):
                worker.take(assignment)
                _run_trial(flow, worker, assignment.number)
        except BdbQuit:
            raise KeyboardInterrupt from None
        except Exception as error:
            flow.error = error
        finally:
            worker.close()


def _take_assignments(flow: TrialFlow) -> Iterator[Assignment]:
    while (found := flow.ask()) is not NoTrial.NONE_LEFT:
        if isinstance(found, Assignment):
            yield found
        else:
            time.sleep(POLL)


def _run_trial(flow: TrialFlow, worker: Worker, number: int) -> None:
    """Run a trial to its end, or until the sweep stops, which leaves it open in the session."""
    while not flow.stopping:
        try:
            answer = worker.advance()
        except BdbQuit:
            raise
        except SystemExit as error:  # would end this process, and the trial would run again
            flow.finish(number, TrialFailure(reason=f"its code ended the process: {error!r}"), None)
            return
        except Exception as error:  # the device, and so this process, is unusable
            flow.finish(number, TrialFailure(reason=f"{type(error).__name__}: {error}"), None)
            raise
        if not isinstance(answer, EpochReport) or answer.is_last:
            flow.finish(number, answer, None)
            return
        if flow.report(number, answer) is not Decision.CONTINUE:
            return
