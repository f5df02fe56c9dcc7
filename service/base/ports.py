"""Whether an address can be listened on."""

from __future__ import annotations

import socket

from service.base.errors import InputError


def check_port(host: str, port: int, option: str = "--port") -> None:
    """See that nobody has it.

    Raises:
        InputError: somebody has, or it is no address of this machine.
    """
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise InputError(
                f"{host}:{port} cannot be used ({error.strerror}); name another with {option}"
            ) from None


def free_port(host: str = "127.0.0.1") -> int:
    """One that nobody has right now."""
    with socket.socket() as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])
