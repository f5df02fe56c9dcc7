"""The manifests for Kubernetes: who may connect to whom, and pods as Kubernetes restricts them."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from itertools import product
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.manifests import HEAD, STACKS, Pod, Stack, render, selects

OPEN = {("api", 8080), ("mlflow", 5000)}
"""What anybody may connect to."""
NEEDED = {
    ("api", "postgres", 5432),
    ("api", "ray", 8265),
    ("api", "mlflow", 5000),
    ("mlflow", "postgres", 5432),
    ("mlflow", "api", 8080),
    ("ray", "api", 8080),
    ("ray", "mlflow", 5000),
}
"""The connections that parts make, but for Ray's own."""


@pytest.fixture(scope="module")
def stacks(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Stack]:
    return render(tmp_path_factory.mktemp("docker"))


@pytest.fixture(params=STACKS)
def stack(request: pytest.FixtureRequest, stacks: dict[str, Stack]) -> Stack:
    return stacks[request.param]


class TestNetwork:
    """Who may connect to whom: a connection must be allowed at both ends."""

    def test_only_api_and_mlflow_are_open_and_each_part_reaches_those_it_needs(
        self, stack: Stack
    ) -> None:
        policies = [p["spec"] for p in stack.of("NetworkPolicy").values()]
        labels = {"another": {}} | {p.app: p.labels for p in stack.pods()}
        ports = {port for p in stack.pods() for port in p.ports().values()} | {12345}
        ends: dict[str, dict[str, str] | None] = {"outside": None, **labels}
        allowed = {
            (source, target, port)
            for source, target, port in product(ends, ends, ports)
            if is_allowed(policies, ends[source], ends[target], port)
        }
        wanted = NEEDED | {("ray", "ray", port) for port in ports}
        wanted |= {("outside", *end) for end in OPEN} | {("outside", "outside", p) for p in ports}
        assert allowed == wanted

    @pytest.mark.parametrize("app", ["api", "mlflow", "postgres", "ray"])
    def test_each_part_is_chosen_by_a_policy_of_either_direction(
        self, stack: Stack, app: str
    ) -> None:
        (labels, *_) = (p.labels for p in stack.pods() if p.app == app)
        policies = [p["spec"] for p in stack.of("NetworkPolicy").values()]
        chosen = [p for p in policies if selects(p["podSelector"], labels)]
        assert {kind for policy in chosen for kind in policy["policyTypes"]} == {
            "Ingress",
            "Egress",
        }

    def test_every_pod_may_ask_the_clusters_dns_and_nothing_else_outside(
        self, stack: Stack
    ) -> None:
        outside = [
            (policy["spec"]["podSelector"], peer, rule["ports"])
            for policy in stack.of("NetworkPolicy").values()
            for rule in policy["spec"].get("egress", [])
            for peer in rule["to"]
            if peer.keys() != {"podSelector"}
        ]
        ports = [{"port": 53, "protocol": "UDP"}, {"port": 53, "protocol": "TCP"}]
        names = {"matchLabels": {"kubernetes.io/metadata.name": "kube-system"}}
        assert outside == [({}, {"namespaceSelector": names}, ports)]

    def test_every_address_that_a_part_is_given_is_one_that_it_may_connect_to(
        self, stack: Stack
    ) -> None:
        apps = {**{s: s for s in stack.of("Service")}, HEAD: "ray"}
        found = set()
        for each in stack.pods():
            for _, container in each.containers():
                words = [w.partition("=")[2] for w in container.get("args", []) if "=http://" in w]
                keys = [e["valueFrom"]["secretKeyRef"]["key"] for e in _references(container)]
                words += [stack.secret()[key] for key in keys if key.endswith(("_URL", "_URI"))]
                for url in map(urlsplit, words):
                    found.add((each.app, apps[url.hostname or ""], url.port or 5432))
        assert found - {("api", "api", 8080)} <= NEEDED  # its own address, for drivers
        assert NEEDED - found == {("ray", "api", 8080), ("ray", "mlflow", 5000)}  # by the API


def _references(container: dict[str, Any]) -> list[dict[str, Any]]:
    return [e for e in container.get("env", []) if "valueFrom" in e]


def is_allowed(
    policies: list[dict[str, Any]],
    source: dict[str, str] | None,
    target: dict[str, str] | None,
    port: int,
) -> bool:
    """Whether pods of these labels may connect; None is an end outside of the namespace."""
    return _admits(policies, "Ingress", "from", target, source, port) and _admits(
        policies, "Egress", "to", source, target, port
    )


def _admits(
    policies: list[dict[str, Any]],
    kind: str,
    peers_key: str,
    here: dict[str, str] | None,
    there: dict[str, str] | None,
    port: int,
) -> bool:
    """Whether the end ``here`` admits a connection with the end ``there``."""
    chosen = [
        p
        for p in policies
        if here is not None and kind in p["policyTypes"] and selects(p["podSelector"], here)
    ]
    if not chosen:
        return True
    rules = (rule for policy in chosen for rule in policy.get(kind.lower(), []))
    return any(
        _has_peer(rule.get(peers_key), there)
        and ("ports" not in rule or port in [p["port"] for p in rule["ports"]])
        for rule in rules
    )


def _has_peer(peers: list[dict[str, Any]] | None, labels: dict[str, str] | None) -> bool:
    """Peers of other namespaces are none of ours, and none of elsewhere."""
    if peers is None:
        return True
    ours = [peer["podSelector"] for peer in peers if peer.keys() == {"podSelector"}]
    return labels is not None and any(selects(selector, labels) for selector in ours)


class TestPodSecurity:
    """The standard "restricted", which the namespace enforces: its controls, one by one.

    https://kubernetes.io/docs/concepts/security/pod-security-standards
    """

    def test_the_namespace_enforces_it(self, stack: Stack) -> None:
        labels = stack.of("Namespace")["gapsweep"]["metadata"]["labels"]
        for mode in ("enforce", "audit", "warn"):
            assert labels[f"pod-security.kubernetes.io/{mode}"] == "restricted"

    def test_no_pod_violates_it(self, stack: Stack) -> None:
        assert {p.name: found for p in stack.pods() if (found := violations(p))} == {}

    @pytest.mark.parametrize(
        ("control", "break_it"),
        [
            ("hostNetwork", lambda pod, _: pod.update(hostNetwork=True)),
            ("hostPID", lambda pod, _: pod.update(hostPID=True)),
            ("hostIPC", lambda pod, _: pod.update(hostIPC=True)),
            ("volume", lambda pod, _: pod["volumes"].append({"name": "x", "hostPath": {}})),
            ("sysctls", lambda pod, _: pod["securityContext"].update(sysctls=[{"name": "x"}])),
            ("hostPort", lambda _, c: c.update(ports=[{"containerPort": 1, "hostPort": 1}])),
            ("privileged", lambda _, c: c["securityContext"].update(privileged=True)),
            (
                "allowPrivilegeEscalation",
                lambda _, c: c["securityContext"].pop("allowPrivilegeEscalation"),
            ),
            ("drop", lambda _, c: c["securityContext"].pop("capabilities")),
            ("add", lambda _, c: c["securityContext"]["capabilities"].update(add=["SYS_ADMIN"])),
            ("runAsNonRoot", lambda _, c: c["securityContext"].pop("runAsNonRoot")),
            ("runAsUser", lambda _, c: c["securityContext"].update(runAsUser=0)),
            ("seccompProfile", lambda _, c: c["securityContext"].pop("seccompProfile")),
            ("procMount", lambda _, c: c["securityContext"].update(procMount="Unmasked")),
            (
                "readOnlyRootFilesystem",
                lambda _, c: c["securityContext"].update(readOnlyRootFilesystem=False),
            ),
        ],
    )
    def test_every_control_is_looked_at_in_every_container(
        self,
        stacks: dict[str, Stack],
        control: str,
        break_it: Callable[[dict[str, Any], dict[str, Any]], object],
    ) -> None:
        stack = stacks["k8s"]
        for number in range(len(stack.containers())):
            broken = Stack(copy.deepcopy(stack.objects), stack.image)
            pods = [(p, c) for p in broken.pods() for _, c in p.containers()]
            pod, container = pods[number]
            break_it(pod.spec, container)
            assert [control in found for found in violations(pod)] == [True], pod.name


def violations(pod: Pod) -> list[str]:
    """What of a pod the standard forbids, and a root file system that can be written."""
    found = [name for name in ("hostNetwork", "hostPID", "hostIPC") if pod.spec.get(name)]
    allowed = {"configMap", "emptyDir", "persistentVolumeClaim", "projected", "secret"}
    kinds = {kind for volume in pod.spec["volumes"] for kind in volume.keys() - {"name"}}
    found += [f"volume of kind {kind}" for kind in sorted(kinds - allowed)]
    found += ["sysctls"] if pod.spec["securityContext"].get("sysctls") else []
    for name, container in pod.containers():
        found += [f"{name}: {what}" for what in _list_violations(container)]
    return found


def _list_violations(container: dict[str, Any]) -> Iterator[str]:
    context = container.get("securityContext", {})
    capabilities = context.get("capabilities", {})
    if any("hostPort" in port for port in container.get("ports", [])):
        yield "hostPort"
    if context.get("privileged"):
        yield "privileged"
    if context.get("allowPrivilegeEscalation") is not False:
        yield "allowPrivilegeEscalation"
    if capabilities.get("drop") != ["ALL"]:
        yield "drop of all capabilities"
    if set(capabilities.get("add", [])) - {"NET_BIND_SERVICE"}:
        yield "add of capabilities"
    if context.get("runAsNonRoot") is not True:
        yield "runAsNonRoot"
    if context.get("runAsUser") == 0:
        yield "runAsUser"
    if context.get("seccompProfile", {}).get("type") not in ("RuntimeDefault", "Localhost"):
        yield "seccompProfile"
    if context.get("procMount", "Default") != "Default":
        yield "procMount"
    if context.get("readOnlyRootFilesystem") is not True:
        yield "readOnlyRootFilesystem"
