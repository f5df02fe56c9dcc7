"""The manifests for Kubernetes as tests read them: rendered, and object by object."""

from __future__ import annotations

import base64
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[1]
DOCKER = ROOT / "docker"
STACKS = {"k8s": "gapsweep:latest", "k8s-gpu": "gapsweep:cuda"}
HEAD = "ray-head-svc"  # KubeRay's name for the Service of a RayCluster `ray`
SEES = {  # container: the keys in its environment, each with its Secret
    "postgres": {("postgres", "POSTGRES_PASSWORD")},
    "mlflow/migrate": {("mlflow", "MLFLOW_BACKEND_STORE_URI")},
    "mlflow": {("mlflow", "MLFLOW_BACKEND_STORE_URI")},
    "api/migrate": {("api", "GAPSWEEP_DATABASE_URL")},
    "api": {("api", "GAPSWEEP_DATABASE_URL"), ("ray-token", "auth_token")},
}
SECRETS = {"postgres", "mlflow", "api", "ray"}  # files that the script writes
UNITS = {"": 1.0, "m": 0.001, "Mi": 2.0**20, "Gi": 2.0**30}

TEXT, COUNT, SWITCH = {"type": "string"}, {"type": "integer", "minimum": 0}, {"type": "boolean"}
TEXTS = {"type": "object", "additionalProperties": TEXT}
OBJECT = {"type": "object"}


def fields(required: str, **known: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "required": required.split(),
        "properties": known,
        "additionalProperties": False,
    }


GROUP = {"rayStartParams": TEXTS, "resources": TEXTS, "labels": TEXTS, "template": OBJECT}
RAY_CLUSTER = fields(  # ray.io/v1 of KubeRay 1.6; templates are looked at as Kubernetes' own
    "headGroupSpec",
    rayVersion=TEXT,
    suspend=SWITCH,
    managedBy=TEXT,
    enableInTreeAutoscaling=SWITCH,
    autoscalerOptions=OBJECT,
    gcsFaultToleranceOptions=OBJECT,
    headServiceAnnotations=TEXTS,
    upgradeStrategy=fields("", type={"enum": ["Recreate", "None"]}),
    authOptions=fields(
        "", mode={"enum": ["disabled", "token"]}, secretName=TEXT, enableK8sTokenAuth=SWITCH
    ),
    headGroupSpec=fields(
        "template", **GROUP, serviceType=TEXT, headService=OBJECT, enableIngress=SWITCH
    ),
    workerGroupSpecs={
        "type": "array",
        "items": fields(
            "groupName template minReplicas maxReplicas",
            **GROUP,
            groupName=TEXT,
            replicas=COUNT,
            minReplicas=COUNT,
            maxReplicas=COUNT,
            numOfHosts=COUNT,
            idleTimeoutSeconds=COUNT,
            suspend=SWITCH,
            scaleStrategy=OBJECT,
        ),
    },
)


@dataclass(frozen=True)
class Pod:
    """What one workload makes its pods of."""

    name: str
    app: str
    labels: dict[str, str]
    spec: dict[str, Any]
    single: bool  # never two at a time, not while it is replaced either

    def containers(self) -> Iterator[tuple[str, dict[str, Any]]]:
        for each in self.spec.get("initContainers", []):
            yield f"{self.name}/{each['name']}", each
        for each in self.spec["containers"]:
            yield self.name, each

    def ports(self) -> dict[str, int]:
        return {
            p["name"]: p["containerPort"] for _, c in self.containers() for p in c.get("ports", [])
        }

    def volume(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = {v["name"]: v for v in self.spec["volumes"]}[name]
        return found


class Stack:
    """A folder's objects."""

    def __init__(self, objects: list[dict[str, Any]], image: str) -> None:
        self.objects, self.image = objects, image

    def of(self, kind: str) -> dict[str, dict[str, Any]]:
        return {o["metadata"]["name"]: o for o in self.objects if o["kind"] == kind}

    @property
    def ray(self) -> dict[str, Any]:
        spec: dict[str, Any] = self.of("RayCluster")["ray"]["spec"]
        return spec

    def ray_groups(self) -> list[dict[str, Any]]:
        return [self.ray["headGroupSpec"], *self.ray["workerGroupSpecs"]]

    def pods(self) -> list[Pod]:
        found = []
        for kind in ("Deployment", "StatefulSet"):
            for name, each in self.of(kind).items():
                spec = each["spec"]
                rolls = kind == "Deployment" and spec.get("strategy") != {"type": "Recreate"}
                found.append(
                    pod(name, spec["template"], single=spec["replicas"] == 1 and not rolls)
                )
        for group in self.ray_groups():
            name = group["template"]["spec"]["containers"][0]["name"]
            found.append(pod(name, group["template"], single=False))
        return found

    def containers(self) -> list[tuple[str, dict[str, Any]]]:
        return [each for found in self.pods() for each in found.containers()]

    def secret(self) -> dict[str, str]:
        """Every password by its key, which no two Secrets share."""
        data = [item for each in self.of("Secret").values() for item in each["data"].items()]
        assert len(dict(data)) == len(data)
        return {key: base64.b64decode(value).decode() for key, value in data}


def pod(name: str, template: dict[str, Any], *, single: bool) -> Pod:
    labels = template["metadata"]["labels"]
    return Pod(name, labels["app"], labels, template["spec"], single)


def amount(text: str) -> float:
    number = text.rstrip("mMGi")
    return float(number) * UNITS[text[len(number) :]]


def selects(selector: dict[str, Any], labels: dict[str, str]) -> bool:
    assert selector.keys() <= {"matchLabels", "matchExpressions"}
    for each in selector.get("matchExpressions", []):
        assert each["operator"] == "In"
        if labels.get(each["key"]) not in each["values"]:
            return False
    return selector.get("matchLabels", {}).items() <= labels.items()


def secret_keys(container: dict[str, Any]) -> set[tuple[str, str]]:
    references = [
        e["valueFrom"]["secretKeyRef"] for e in container.get("env", []) if "valueFrom" in e
    ]
    return {(r["name"], r["key"]) for r in references}


def render(folder: Path) -> dict[str, Stack]:
    """The objects of each folder of manifests, copied to ``folder`` with passwords of its own."""
    for name in STACKS:
        shutil.copytree(DOCKER / name, folder / name, ignore=shutil.ignore_patterns("*.env"))
    subprocess.run([folder / "k8s" / "secrets"], check=True, capture_output=True)
    kubectl = shutil.which("kubectl")
    if kubectl is None:
        pytest.skip("no kubectl, which renders the manifests")
    found = {}
    for name, image in STACKS.items():
        command = [kubectl, "kustomize", str(folder / name)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        found[name] = Stack(list(yaml.safe_load_all(done.stdout)), image)
    return found
