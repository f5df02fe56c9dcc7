"""Runs trials in this process, without Ray: one after another, or as many at once as share steps.

For notebooks, for a breakpoint inside a trial, and for tests. Records, checkpoints and reasons are
the same as with Ray. Two things differ: a trial that kills its process ends the sweep, which can be
resumed, and a stop waits for the end of the running epoch.
"""

from __future__ import annotations

import time
from bdb import BdbQuit

from service.cluster.divisions import TrialContext
from service.cluster.slot import Slot
from service.run.process_state import preserve_process_state
from service.study.messages import TrialFailure
from service.study.slot_flow import ALONE, SlotFlow, Widths
from service.study.trial_flow import NoTrial, TrialFlow

POLL = 0.1
"""Seconds between two requests for a trial while none may start."""
_HERE = "this process"


def run_trials_here(flow: TrialFlow, context: TrialContext, widths: Widths = ALONE) -> None:
    """Run trials until the flow has none left or requests a stop; stores an error in the flow.

    With ``widths`` several trials are trained at once, and share their steps.

    Raises:
        KeyboardInterrupt: Ctrl-C interrupted a trial, or a debugger in it was quit; the trial
            stays running in the study and is resumed with the sweep.
    """
    slots = SlotFlow(flow, widths)
    with preserve_process_state():
        slot = Slot(context, widths.most)
        try:
            while (found := slots.open(_HERE)) is not NoTrial.NONE_LEFT:
                if isinstance(found, NoTrial):
                    time.sleep(POLL)
                    continue
                for assignment in found:
                    slot.take(assignment)
                _run_slot(slots, slot)
        except BdbQuit:
            raise KeyboardInterrupt from None
        except Exception as error:
            flow.error = error
        finally:
            slot.close()


def _run_slot(slots: SlotFlow, slot: Slot) -> None:
    """Train until no trial is left, or until the sweep stops, which leaves them open."""
    while slots.list_trials(_HERE) and not slots.flow.stopping:
        try:
            answers = slot.advance()
        except BdbQuit:
            raise
        except SystemExit as error:  # would end this process, and the trial would run again
            reason = f"its code ended the process: {error!r}"
            slots.close(_HERE, TrialFailure(reason=reason))
            slot.close()
            return
        except Exception as error:  # the device, and so this process, is unusable
            slots.close(_HERE, TrialFailure(reason=f"{type(error).__name__}: {error}"))
            raise
        orders = slots.report(_HERE, [answers])
        for number in orders.drop:
            slot.drop(number)
        for assignment in orders.take:
            slot.take(assignment)
    slots.close(_HERE, None)
