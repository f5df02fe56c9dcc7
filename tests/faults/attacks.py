"""Attacks on a running service over its own interfaces; each of them must be refused.

    python -m tests.faults.attacks --server URL --mlflow URL --user TOKEN --viewer TOKEN --home PATH

`--user` is a token of the role user, `--viewer` one of the role viewer, `--home` the home folder
as the cluster's nodes see it. One attack submits sweeps whose code leaves links, pipes and escape
codes, and reads the results as the viewer. The exit status is 1 if an attack succeeds; the table
says how.
"""

from __future__ import annotations

import argparse
import http.client
import io
import json
import sys
import time
import urllib.error
import urllib.request
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tests.patience import patience

SECRETS = ("GAPSWEEP_DATABASE_URL", "RAY_AUTH_TOKEN", "GAPSWEEP_TOKEN", "postgresql+psycopg")
"""Words of which no answer may have one: the API's environment has them."""
LONGEST = 64 * 1024
"""Bytes of an answer to a spec that is refused."""


@dataclass(frozen=True)
class Answer:
    """An answer of the service."""

    status: int
    text: str
    seconds: float

    @property
    def refused(self) -> bool:
        """Whether it is a refusal of the client, and no fault of the server."""
        return 400 <= self.status < 500


@dataclass(frozen=True)
class Service:
    """A running service, and tokens of two of its users."""

    server: str
    mlflow: str
    user: str
    viewer: str

    def ask(
        self,
        url: str,
        body: bytes | object = None,
        token: str | None = None,
        method: str | None = None,
        **headers: str,
    ) -> Answer:
        """Ask the API (``/v1/…``) or another address; the body is bytes, or JSON."""
        address = self.server + url if url.startswith("/") else url
        data = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        request = urllib.request.Request(address, data, headers, method=method)
        if token:
            request.add_header("Authorization", f"Bearer {token}")
        if data is not None and "Content-type" not in request.headers:
            request.add_header("Content-Type", "application/json")
        start = time.monotonic()
        try:
            with urllib.request.urlopen(request, timeout=patience(60)) as found:
                status, text = found.status, found.read().decode(errors="replace")
        except urllib.error.HTTPError as error:
            status, text = error.code, error.read().decode(errors="replace")
        except http.client.HTTPException as error:
            status, text = 599, repr(error)
        return Answer(status, text, time.monotonic() - start)

    def upload(self, files: Mapping[str, str]) -> Answer:
        """Upload a bundle of code as the user."""
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w") as archive:
            for name, text in files.items():
                archive.writestr(name, text)
        headers = {"Content-Type": "application/zip"}
        return self.ask("/v1/bundles", packed.getvalue(), self.user, **headers)


Attempt = Callable[[Service], str | None]
"""An attack; returns what it achieved, None if it was refused."""

SPEC: dict[str, Any] = {
    "name": "attack",
    "trainable": "trainables.models:MLP",
    "data": "digits",
    "space": {"dropout": {"float": [0.0, 0.5]}},
}


def shadow_packages(service: Service) -> str | None:
    """Bundles with modules of the names of Python's or of installed packages."""
    names = ["torch.py", "sitecustomize.py", "Ray/__init__.py", "json.py", "pydantic/x.py"]
    names += ["gapsweep.py", "numpy.so", "evil.pth", "x-1.dist-info/RECORD", "../out.py"]
    taken = [name for name in names if not service.upload({name: ""}).refused]
    return f"taken: {', '.join(taken)}" if taken else None


def stop_the_queue(service: Service) -> str | None:
    """Numbers that a loop would count, and that are no numbers."""
    changes: Sequence[dict[str, Any]] = (
        {"resources": {"cpus": 1e-7, "concurrent": 10**9}},
        {"search": {"sampler": "grid", "grid_points": 3_000_000}},
        {"budget": {"trials": 10**12}},
        {"model": {"hidden": [10**9]}},
        {"confirm": {"top_k": 10**9}},
        {"training": {"lr": float("inf")}},
    )
    bodies = [json.dumps({**SPEC, **change}).encode() for change in changes]
    bodies.append(json.dumps({**SPEC, "budget": {"minutes": 0}}).replace("0}", "1e400}").encode())
    taken = [b.decode()[-60:] for b in bodies if not _submit(service, b, service.user).refused]
    return f"taken: {taken}" if taken else None


def slow_validation(service: Service) -> str | None:
    """Specs that took long to read, or gave long answers, sent by a viewer."""
    wrong = {f"p{n}": {"float": [0, 1], "when": {f"q{n}": 1}} for n in range(400)}
    bodies = {
        "choices": json.dumps({**SPEC, "space": {"lr": {"choice": [*range(9_000)]}}}).encode(),
        "conditions": json.dumps({**SPEC, "space": wrong}).encode(),
        "base 60": b"a: " + b"1:" * 95_000 + b"1",
        "depth": b"[" * 100_000,
        "aliases": b"a: &a [1]\n" + b"".join(b"b%d: [*a, *a, *a]\n" % n for n in range(5_000)),
        "long name": json.dumps({**SPEC, "name": "x" * 100_000}).encode(),
    }
    found = {
        name: service.ask("/v1/validate", body, service.viewer) for name, body in bodies.items()
    }
    for name, answer in found.items():
        if answer.status >= 500 or answer.seconds > patience(5) or len(answer.text) > LONGEST:
            return f"{name}: {answer.status} after {answer.seconds:.1f} s, {len(answer.text)} bytes"
    return None


def act_without_the_role(service: Service) -> str | None:
    """A viewer's submissions, changes and uploads; invalid tokens."""
    spec = json.dumps(SPEC).encode()
    tries = {
        "a viewer submits": _submit(service, spec, service.viewer),
        "a viewer cancels": service.ask("/v1/sweeps/x-000000:cancel", b"", service.viewer),
        "no token": service.ask("/v1/sweeps"),
        "an invalid token": service.ask("/v1/sweeps", token="gs_" + "0" * 43),
        "a user reports as a driver": service.ask("/v1/driver/report", {}, service.user),
        "a user reads a driver's job": service.ask("/v1/driver/job", token=service.user),
    }
    allowed = [name for name, answer in tries.items() if not answer.refused]
    return f"allowed: {', '.join(allowed)}" if allowed else None


def read_through_mlflow(service: Service) -> str | None:
    """Places of artifacts outside of MLflow's folder, as the user, who may write runs."""
    calls = f"{service.mlflow}/api/2.0/mlflow"
    places = ("file:///etc", "/etc", "file:///proc/self", "mlflow-artifacts:/../..", "s3://x/y")
    allowed = []
    for number, place in enumerate(places):
        body = {"name": f"attack-{time.time_ns()}-{number}", "artifact_location": place}
        if not service.ask(f"{calls}/experiments/create", body, service.user).refused:
            allowed.append(place)
    files = f"{service.mlflow}/api/2.0/mlflow-artifacts/artifacts"
    for path in ("../../etc/passwd", "%2e%2e/%2e%2e/etc/passwd", "/etc/passwd"):
        if not service.ask(f"{files}/{path}", token=service.user).refused:
            allowed.append(path)
    return f"allowed: {', '.join(allowed)}" if allowed else None


def use_mlflow_without_the_role(service: Service) -> str | None:
    """MLflow without a token, as a viewer who writes, and what calls other hosts."""
    calls = f"{service.mlflow}/api/2.0/mlflow"
    name = {"name": f"attack-{time.time_ns()}"}
    hook = {"name": "x", "url": "http://169.254.169.254/", "events": []}
    service.ask(f"{calls}/registered-models/create", name, service.user)
    version = {**name, "source": "file:///etc"}
    tries = {
        "no token": service.ask(f"{calls}/experiments/search", {"max_results": 5}),
        "the page without a token": service.ask(f"{service.mlflow}/"),
        "a viewer writes": service.ask(f"{calls}/experiments/create", name, service.viewer),
        "a user deletes": service.ask(f"{calls}/runs/delete", {"run_id": "x"}, service.user),
        "a webhook": service.ask(f"{calls}/webhooks", hook, service.user),
        "a viewer's model": service.ask(f"{calls}/registered-models/create", name, service.viewer),
        "a model of the server's files": service.ask(
            f"{calls}/model-versions/create", version, service.user
        ),
    }
    allowed = [name for name, answer in tries.items() if not answer.refused]
    return f"allowed: {', '.join(allowed)}" if allowed else None


HOSTILE = """
import os
from pathlib import Path

from torch import nn


def leave():
    folder = max(Path({home!r}).glob("sweeps/{sweep}-*"), key=lambda path: path.stat().st_mtime)
    for name, target in {links!r}:
        place = folder / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.unlink(missing_ok=True)
        os.mkfifo(place) if target is None else place.symlink_to(target)


class Net(nn.Module):
    def __init__(self, outputs):
        super().__init__()
        self.body = nn.Sequential(nn.Flatten(), nn.Linear(64, outputs))
        leave()
        raise RuntimeError("[/bold] \\x1b]0;owned\\x07 [link=http://x]")

    def forward(self, x):
        return self.body(x)
"""


def plant_files(service: Service, home: str) -> str | None:
    """Links and pipes that a sweep's code leaves in its folder, read by a viewer."""
    environment = "/proc/self/environ"
    planted: tuple[list[tuple[str, str | None]], ...] = (
        [("report.html", environment), ("driver.log", environment)],
        [("driver.log", None), ("summary.json", None), ("trials/00000/best.pt", environment)],
    )
    for number, links in enumerate(planted):
        found = _plant(service, home, f"planted-{number}", links)
        if found:
            return found
    return None


def _plant(
    service: Service, home: str, name: str, links: Sequence[tuple[str, str | None]]
) -> str | None:
    code = HOSTILE.format(home=home, sweep=name, links=list(links))
    bundle = json.loads(service.upload({"planted.py": code}).text)["digest"]
    spec = {**SPEC, "name": name, "trainable": "planted:Net", "budget": {"trials": 2}}
    body = json.dumps({**spec, "confirm": "off", "resources": {"retries": 0}}).encode()
    sweep = json.loads(_submit(service, body, service.user, f"?bundle={bundle}").text)["sweep_id"]
    _wait_until_over(service, sweep)
    statuses = []
    for result in ("report", "report?format=text", "report?format=json", "logs", "model", "best"):
        answer = service.ask(f"/v1/sweeps/{sweep}/{result}", token=service.viewer)
        statuses.append(answer.status)
        leaked = [word for word in SECRETS if word in answer.text]
        if leaked or answer.status >= 500 or answer.seconds > patience(20):
            return f"{result}: {answer.status} after {answer.seconds:.1f} s, {leaked}"
    status = service.ask(f"/v1/sweeps/{sweep}", token=service.viewer)
    if 409 not in statuses:
        return f"not tried: no file was found to be planted ({statuses}): {status.text}"
    return "an escape code is in the status" if "\x1b" in status.text else None


def _wait_until_over(service: Service, sweep: str) -> None:
    deadline = time.monotonic() + patience(180)
    while time.monotonic() < deadline:
        answer = service.ask(f"/v1/sweeps/{sweep}", token=service.viewer)
        if json.loads(answer.text)["state"] in ("succeeded", "failed", "cancelled"):
            return
        time.sleep(0.5)
    raise TimeoutError(f"{sweep} did not end: {answer.text}")


def drown_the_probes(service: Service) -> str | None:
    """Fifty validations at once, and the probes beside them."""
    from concurrent.futures import ThreadPoolExecutor

    spec = {**SPEC, "space": {"lr": {"choice": [n + 0.5 for n in range(3_000)]}}}
    body = json.dumps(spec).encode()
    with ThreadPoolExecutor(50) as pool:
        running = [
            pool.submit(service.ask, "/v1/validate", body, service.viewer) for _ in range(50)
        ]
        slow = max(service.ask(path).seconds for path in ("/healthz", "/readyz") for _ in range(5))
        for one in running:
            one.result()
    return f"a probe took {slow:.1f} s" if slow > patience(5) else None


ATTACKS: Mapping[str, Attempt] = {
    "bundles that shadow packages": shadow_packages,
    "numbers that stop the queue": stop_the_queue,
    "specs that take long to validate": slow_validation,
    "probes drowned by validations": drown_the_probes,
    "actions without the role": act_without_the_role,
    "MLflow without the role": use_mlflow_without_the_role,
    "files through MLflow": read_through_mlflow,
}


def run_all(service: Service, home: str) -> dict[str, str | None]:
    """What each attack achieved, None if it was refused. ``home`` is that of Ray's nodes."""
    attacks: dict[str, Attempt] = {**ATTACKS}
    attacks["planted links and pipes"] = lambda s: plant_files(s, home)
    return {name: attack(service) for name, attack in attacks.items()}


def _submit(service: Service, body: bytes, token: str, query: str = "") -> Answer:
    return service.ask(f"/v1/sweeps{query}", body, token)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run every attack and print a table; returns 1 if one succeeded."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.attacks", description=__doc__)
    for name in ("server", "mlflow", "user", "viewer", "home"):
        parser.add_argument(f"--{name}", required=True)
    options = parser.parse_args(arguments)
    service = Service(options.server, options.mlflow, options.user, options.viewer)
    found = run_all(service, options.home)
    for name, achieved in found.items():
        print(f"{name:36} {'refused' if achieved is None else achieved}")
    return int(any(achieved is not None for achieved in found.values()))


if __name__ == "__main__":
    sys.exit(main())
