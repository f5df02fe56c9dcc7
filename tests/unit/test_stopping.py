"""Whichever signal ends a command, what it started is closed."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

from tests.commands import REPOSITORY
from tests.patience import patience

FOLDER = REPOSITORY / "service" / "cli"
PROGRAM = """
import signal, sys
sys.path.insert(0, sys.argv[2])  # the rest of the package takes seconds to import
from stop_signals import ignore_signals, stop_in_order

async def app(scope, receive, send):
    assert scope["type"] == "lifespan"
    while True:
        kind = (await receive())["type"]
        await send({"type": f"{kind}.complete"})
        if kind == "lifespan.startup":
            print("serving", flush=True)
        else:
            return

nohup = sys.argv[1] == "nohup"
signal.signal(signal.SIGHUP, signal.SIG_IGN if nohup else signal.SIG_DFL)
signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in a background job
with stop_in_order():
    try:
        if sys.argv[1] == "starting":
            print("starting", flush=True)
            signal.pause()
        import uvicorn
        uvicorn.run(app, port=0, log_config=None)
    finally:
        ignore_signals()
        signal.raise_signal(signal.SIGTERM)  # an impatient supervisor's second one
        print("closed", flush=True)
"""


def started(how: str, word: str) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, how, str(FOLDER)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == f"{word}\n"
    return process


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize(("how", "word"), [("serving", "serving"), ("starting", "starting")])
def test_everything_is_closed(number: signal.Signals, how: str, word: str) -> None:
    process = started(how, word)
    process.send_signal(number)
    said, _ = process.communicate(timeout=patience(20))
    assert (said, process.returncode) == ("closed\n", 0)


def test_under_nohup_a_closed_terminal_changes_nothing() -> None:
    process = started("nohup", "serving")
    process.send_signal(signal.SIGHUP)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(timeout=1)
    process.send_signal(signal.SIGTERM)
    said, _ = process.communicate(timeout=patience(20))
    assert (said, process.returncode) == ("closed\n", 0)
