"""Network ports: whether one is free, and a free one."""

from __future__ import annotations

import ipaddress
import socket

from service.base.errors import InputError


def check_port(host: str, port: int, option: str = "--port") -> None:
    """Check that a server can listen on an address; ``option`` is named in the error.

    Raises:
        InputError: the port is in use, or the host is not an address of this machine.
    """
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise InputError(
                f"cannot listen on {host}:{port} ({error.strerror}); choose another with {option}"
            ) from None


def find_free_port(host: str = "127.0.0.1") -> int:
    """A port that is free at the moment."""
    with socket.socket() as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


def is_loopback(host: str) -> bool:
    """Whether a name or an address means the machine that looks it up."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
