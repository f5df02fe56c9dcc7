"""A Ray of two nodes: groups across both, and what is refused before any trial."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from service.cluster.connection import Cluster
from service.cluster.inventory import Inventory
from tests.commands import DIGITS, gapsweep, settings
from tests.group_sweeps import run
from tests.rays import Ray, ray_cluster

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("without_plots")]

PAIR = ("resources.workers=2", "resources.concurrent=4")


@pytest.fixture(scope="module")
def hidden(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that the second node does not see, where root runs the tests."""
    return tmp_path_factory.mktemp("hidden")


@pytest.fixture(scope="module")
def ray(hidden: Path) -> Iterator[Ray]:
    """Two nodes; the second has an empty file system of its own in the hidden folder."""
    hide = f'mount -t tmpfs none {hidden} && exec "$@"'
    words = ("unshare", "--mount", "sh", "-c", hide, "sh") if os.geteuid() == 0 else ()
    with ray_cluster(1, 1, before=words) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def inventory(ray: Ray) -> Inventory:
    """What the nodes said, whom it takes seconds to ask."""
    return Cluster(ray.address).take_inventory()


def test_a_group_spans_nodes(tmp_path: Path, ray: Ray) -> None:
    sweep = run(tmp_path, ray, budget={"trials": 2}, resources={"workers": 2, "concurrent": 1})
    assert sweep.summary()["trials"]["complete"] == 2


def test_devices_shows_every_node_and_what_a_spec_would_use(ray: Ray) -> None:
    asked = (str(DIGITS), *ray.options, *settings(*PAIR))
    shown = gapsweep("devices", *asked, env=ray.env)
    assert shown.returncode == 0, shown.stderr
    assert shown.stdout.count("GiB") == 2
    assert "2 workers with 1 CPU and 0 GPUs each" in shown.stdout
    assert "1 trial (1 fit, concurrent is 4)" in shown.stdout


@pytest.mark.parametrize(
    ("command", "change", "words"),
    [
        ("run", "resources.placement=strict_pack", "2 CPUs on one node (placement: strict_pack)"),
        ("devices", "resources.cpus=4", "a trial needs 4 CPUs; the cluster has 2 CPUs"),
        ("run", "resources.gpus=2", "a trial needs 2 GPUs; the cluster has 2 CPUs and no GPU"),
        ("run", "resources.gpus=4", "must be 2, one for each of 2 workers, or 0; got 4"),
        ("run", "training.precision=tf32", "do not support tf32"),
    ],
)
def test_what_the_cluster_lacks_is_refused_before_any_trial(
    tmp_path: Path,
    ray: Ray,
    inventory: Inventory,
    monkeypatch: pytest.MonkeyPatch,
    command: str,
    change: str,
    words: str,
) -> None:
    monkeypatch.setattr(Cluster, "take_inventory", lambda *_: inventory)
    home = {"GAPSWEEP_HOME": str(tmp_path), **ray.env}
    asked = (str(DIGITS), *ray.options, *settings(*PAIR, change))
    done = gapsweep(command, *asked, env=home)
    assert done.returncode == 2
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.glob("sweeps/*"))


@pytest.mark.root
def test_a_home_that_a_node_does_not_see_is_refused(hidden: Path, ray: Ray) -> None:
    home = hidden / "home"
    home.mkdir()
    done = gapsweep("run", str(DIGITS), *ray.options, "--home", str(home), env=ray.env)
    assert done.returncode == 2
    assert f"does not see {home}" in done.stderr
    assert not list(home.glob("sweeps/*"))


def test_a_cluster_that_does_not_answer_is_said_at_once(tmp_path: Path) -> None:
    done = gapsweep("run", str(DIGITS), "--ray-address", "127.0.0.1:9", "--home", str(tmp_path))
    assert done.returncode == 2
    assert "no Ray cluster answers at 127.0.0.1:9 (Connection refused)" in done.stderr
