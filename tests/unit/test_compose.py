"""Which of the stack's passwords each of its parts can read; nothing is started."""

from __future__ import annotations

import shutil
import stat
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

DOCKER = Path(__file__).parents[2] / "docker"
PARTS = {  # part: the passwords that it needs
    "postgres": {"POSTGRES_PASSWORD"},
    "mlflow": {"MLFLOW_BACKEND_STORE_URI"},
    "ray": {"RAY_AUTH_TOKEN"},
    "api": {"GAPSWEEP_DATABASE_URL", "RAY_AUTH_TOKEN"},
    "cli": {"GAPSWEEP_TOKEN"},
}
READS = {  # service: the part whose file it has
    "postgres": "postgres",
    "mlflow": "mlflow",
    "ray-head": "ray",
    "ray-worker": "ray",
    "api": "api",
    "cli": "cli",
}
ALL = {"keys", "setup", "keeper"}  # they make all passwords, or move them; none of them serves
RAY = ("ray-head", "ray-worker")


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((DOCKER / "compose.yaml").read_text())["services"]
    return found


def mounts(service: dict[str, Any]) -> dict[str, str]:
    """Volumes by where they are mounted."""
    pairs = [text.split(":")[:2] for text in service.get("volumes", [])]
    return {place: name for name, place in pairs}


def test_each_service_has_the_file_of_its_own_part_and_no_other(services: dict[str, Any]) -> None:
    for name, service in services.items():
        volumes = set(mounts(service).values())
        secret = {v for v in volumes if v.startswith("secrets")}
        if name in ALL:
            assert "secrets" in secret, name
        else:
            assert secret == ({f"secrets-of-{READS[name]}"} if name in READS else set()), name


def test_each_service_asks_for_what_its_part_has(services: dict[str, Any]) -> None:
    for name, part in READS.items():
        if name != "postgres":  # its script names the one that it takes
            asked = services[name]["environment"]["SECRETS"].split()
            assert set(asked) == PARTS[part], name
            assert mounts(services[name])["/secrets"] == f"secrets-of-{part}"
    assert "sed -n 's/^POSTGRES_PASSWORD=//p'" in (DOCKER / "postgres").read_text()


def test_rays_containers_share_no_folder_and_no_network_with_a_password(
    services: dict[str, Any],
) -> None:
    networks = {n: set(s.get("networks", ["default"])) for n, s in services.items()}
    for name in RAY:
        assert set(mounts(services[name]).values()) == {"sweeps", "secrets-of-ray"}
        assert networks[name] == {"default"}
        assert services[name]["environment"].keys() & {"GAPSWEEP_DATABASE_URL"} == set()
    assert networks["postgres"] == {"database"}
    for name, service in services.items():
        assert not service.get("pid"), name
        assert not service.get("privileged"), name


def test_drivers_are_told_the_apis_name(services: dict[str, Any]) -> None:
    (port,) = services["api"]["ports"]
    assert f"--driver-url=http://api:{port.rpartition(':')[2]}" in services["api"]["command"]


class Volumes:
    """The volumes of passwords as folders of a test's own, and `keys` over them."""

    def __init__(self, folder: Path) -> None:
        self.all = folder / "secrets" / "env"
        self.of = folder / "secrets-of"
        for place in (self.all.parent, *(self.of / part for part in PARTS)):
            place.mkdir(parents=True)
        text = (DOCKER / "image" / "keys").read_text()
        self._script = folder / "keys"
        self._script.write_text(text.replace("/secrets", f"{folder}/secrets"))
        shutil.copymode(DOCKER / "image" / "keys", self._script)

    def start(self) -> dict[str, dict[str, str]]:
        """What each part has after a start."""
        subprocess.run([self._script], check=True, capture_output=True)
        return {part: self.read(self.of / part / "env") for part in PARTS}

    def read(self, file: Path) -> dict[str, str]:
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        return dict(line.split("=", 1) for line in file.read_text().splitlines())


def test_keys_gives_each_part_its_own_and_the_same_at_every_start(tmp_path: Path) -> None:
    volumes = Volumes(tmp_path)
    first = volumes.start()
    assert {part: set(found) for part, found in first.items()} == {**PARTS, "cli": set()}
    with volumes.all.open("a") as file:
        file.write("GAPSWEEP_TOKEN=gs_1\n")  # as setup.py does
    again = volumes.start()
    assert again == {**first, "cli": {"GAPSWEEP_TOKEN": "gs_1"}}
    assert {k: v for part in again.values() for k, v in part.items()} == volumes.read(volumes.all)
    assert {p.name for p in tmp_path.rglob("*") if p.is_file()} == {"env", "keys"}


def test_passwords_of_an_older_version_are_kept(tmp_path: Path) -> None:
    volumes = Volumes(tmp_path)
    names = sorted(set.union(*PARTS.values()))
    volumes.all.write_text("".join(f"{name}=old-{name}\n" for name in names))
    volumes.all.chmod(0o600)
    assert volumes.start() == {p: {n: f"old-{n}" for n in wanted} for p, wanted in PARTS.items()}
