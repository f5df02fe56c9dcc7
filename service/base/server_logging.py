"""How the servers log: each record on a line with its time and level, without secrets."""

from __future__ import annotations

import logging

from service.base.redaction import RedactingFormatter

_NOISY = ("alembic", "httpx2", "httpx", "ray")


def configure_logging() -> None:
    """Log to standard error, libraries' records too.

    Without it a library's warning is a bare line that looks like one of ours: ``docker/check``
    takes lines that begin with ``error`` for the errors of our commands.
    """
    handler = logging.StreamHandler()
    handler.setFormatter(RedactingFormatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    for name in _NOISY:
        logging.getLogger(name).setLevel(logging.WARNING)
