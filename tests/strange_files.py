"""What users' code may leave in the place of a file of its sweep."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Mapping
from pathlib import Path

SECRET = "only-the-server-may-read-this"
Maker = Callable[[Path], object]


def make_link(path: Path) -> None:
    """A link to a file that only this process may read."""
    secret = path.parent / ".secret"
    secret.write_text(SECRET, encoding="utf-8")
    secret.chmod(0o600)
    path.symlink_to(secret)


def make_hard_link(path: Path) -> None:
    """A second name of such a file."""
    secret = path.parent / ".secret"
    secret.write_text(SECRET, encoding="utf-8")
    secret.chmod(0o600)
    os.link(secret, path)


def make_socket(path: Path) -> socket.socket:
    """A socket that nobody listens on."""
    made = socket.socket(socket.AF_UNIX)
    folder = os.open(path.parent, os.O_RDONLY)  # the path of a socket is short
    try:
        made.bind(f"/proc/self/fd/{folder}/{path.name}")
    finally:
        os.close(folder)
    return made


def make_sparse(path: Path) -> None:
    """A file of a tebibyte that uses no space."""
    with path.open("wb") as file:
        file.truncate(2**40)


STRANGE: Mapping[str, Maker] = {
    "link": make_link,
    "link to nothing": lambda path: path.symlink_to("nothing"),
    "link to itself": lambda path: path.symlink_to(path.name),
    "link to the environment": lambda path: path.symlink_to("/proc/self/environ"),
    "hard link": make_hard_link,
    "pipe": lambda path: os.mkfifo(path),
    "socket": make_socket,
    "folder": lambda path: path.mkdir(),
    "link to a device": lambda path: path.symlink_to("/dev/zero"),
    "sparse": make_sparse,
}
