"""Starts a driver: ``python -P -m service.server.start_driver ID …``, with the driver's arguments.

Where the node has a server that forks processes (``service/cluster/fork_server.py``), it forks the
driver, which then has imported most of what it needs; otherwise this process becomes the driver.
"""

import os
import sys
from pathlib import Path

from service.cluster.start_worker import run_forked

_DRIVER = str(Path(__file__).with_name("driver.py"))

if __name__ == "__main__":
    words = [sys.executable, _DRIVER, *sys.argv[1:]]
    code = run_forked(words, dict(os.environ))
    if code is None:
        from service.server.driver import start

        code = start()
    sys.exit(code)
