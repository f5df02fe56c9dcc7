"""A network namespace whose connection to this machine can be cut; needs root."""

from __future__ import annotations

import secrets
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass(frozen=True)
class Namespace:
    """Its programs answer at the address ``inside``, and reach this machine at ``outside``."""

    name: str
    inside: str
    outside: str

    @property
    def before(self) -> tuple[str, ...]:
        """What a command begins with to run in it."""
        return ("ip", "netns", "exec", self.name)

    def cut(self) -> None:
        """Drop everything that is sent, as a broken switch would: nobody is told."""
        _ip("link", "set", self.name, "down")

    def heal(self) -> None:
        """Let it through again."""
        _ip("link", "set", self.name, "up")


@contextmanager
def open_namespace() -> Iterator[Namespace]:
    """Make a namespace, until the block ends."""
    name, part = f"gs{secrets.token_hex(4)}", secrets.randbelow(254) + 1
    made = Namespace(name, f"10.203.{part}.2", f"10.203.{part}.1")
    peer, inner = f"{name}p", ("netns", "exec", name, "ip")
    _ip("netns", "add", name)
    try:
        _ip("link", "add", name, "type", "veth", "peer", "name", peer)
        _ip("link", "set", peer, "netns", name)
        _ip("addr", "add", f"{made.outside}/24", "dev", name)
        _ip("link", "set", name, "up")
        _ip(*inner, "addr", "add", f"{made.inside}/24", "dev", peer)
        _ip(*inner, "link", "set", peer, "up")
        _ip(*inner, "link", "set", "lo", "up")
        yield made
    finally:
        _ip("netns", "del", name)  # which deletes the interfaces too


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)
