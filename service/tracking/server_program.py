"""What the programs of a server have in common, which itself imports no MLflow."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence

from service.base.collection import collect_rarely
from service.base.errors import ServerError
from service.base.plain_text import say
from service.base.redaction import redact
from service.base.streams import use_safe_streams
from service.sweep.environment import locate_home
from service.sweep.home import Home


def run_program(act: Callable[[Home, Sequence[str]], None]) -> int:
    """Call ``act`` with the data directory and a word for each sweep, from the command line.

    It prints the id of each sweep for which it is done. Returns 1 if MLflow does not answer or does
    not allow it. MLflow and its credentials are found as by a sweep's driver.
    """
    collect_rarely()
    use_safe_streams()
    parser = argparse.ArgumentParser()
    parser.add_argument("--home", required=True)
    parser.add_argument("sweeps", nargs="+")
    options = parser.parse_args()
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")
    try:
        act(locate_home(options.home), options.sweeps)
    except ServerError as error:
        say(redact(str(error)), to=sys.stderr)
        return 1
    return 0
