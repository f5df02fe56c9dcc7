"""What Kubernetes is told, rendered as `kubectl apply -k` renders it; no cluster is asked."""

from __future__ import annotations

import copy
import functools
import re
import shutil
import stat
import subprocess
from pathlib import Path
from urllib.parse import urlsplit

import jsonschema
import kubernetes_validate
import pytest
import yaml
from kubernetes_validate.utils import all_versions

from tests.manifests import (
    DOCKER,
    HEAD,
    RAY_CLUSTER,
    ROOT,
    SECRETS,
    SEES,
    STACKS,
    Stack,
    amount,
    pod,
    render,
    secret_keys,
    selects,
)


@pytest.fixture(scope="module")
def stacks(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Stack]:
    return render(tmp_path_factory.mktemp("docker"))


@pytest.fixture(params=STACKS)
def stack(request: pytest.FixtureRequest, stacks: dict[str, Stack]) -> Stack:
    return stacks[request.param]


read_schema = functools.cache(kubernetes_validate.utils.schema_contents)
"""The validator reads a file of megabytes for each object."""


class TestSchemas:
    """Every field is one that Kubernetes, KubeRay or Ray knows."""

    @pytest.mark.parametrize("version", [all_versions()[0], all_versions()[-1]])
    def test_kubernetes_knows_every_field(
        self, stack: Stack, version: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(kubernetes_validate.utils, "schema_contents", read_schema)
        templates = [
            {"apiVersion": "v1", "kind": "PodTemplate", "template": group["template"]}
            for group in stack.ray_groups()
        ]
        for each in [o for o in stack.objects if o["kind"] != "RayCluster"] + templates:
            kubernetes_validate.validate(each, version, strict=True)

    def test_kuberay_knows_every_field_of_its_cluster(self, stack: Stack) -> None:
        assert stack.of("RayCluster")["ray"]["apiVersion"] == "ray.io/v1"
        jsonschema.Draft202012Validator(RAY_CLUSTER).validate(stack.ray)
        for group in stack.ray["workerGroupSpecs"]:
            assert group["minReplicas"] <= group["replicas"] <= group["maxReplicas"]

    @pytest.mark.filterwarnings("ignore")  # Ray's own, as its command is imported
    def test_ray_knows_every_parameter_that_it_is_started_with(self, stack: Stack) -> None:
        from ray.scripts.scripts import start

        known = {option.removeprefix("--") for p in start.params for option in p.opts}
        for group in stack.ray_groups():
            assert group["rayStartParams"].keys() <= known

    def test_rays_version_is_the_one_that_the_image_is_built_with(self, stack: Stack) -> None:
        built = re.search(r"^ray==(\S+)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
        assert built is not None
        assert stack.ray["rayVersion"] == built[1]


class TestReferences:
    """What one object says of another is so."""

    def test_everything_is_in_one_namespace(self, stack: Stack) -> None:
        (namespace,) = stack.of("Namespace")
        inside = [o for o in stack.objects if o["kind"] != "Namespace"]
        assert {o["metadata"]["namespace"] for o in inside} == {namespace}

    def test_every_selector_selects_pods(self, stack: Stack) -> None:
        pods = stack.pods()
        for kind in ("Deployment", "StatefulSet"):
            for each in stack.of(kind).values():
                labels = each["spec"]["template"]["metadata"]["labels"]
                assert selects(each["spec"]["selector"], labels)
        selectors = [{"matchLabels": s["spec"]["selector"]} for s in stack.of("Service").values()]
        for policy in stack.of("NetworkPolicy").values():
            peers = [p for rule in policy["spec"].get("ingress", []) for p in rule.get("from", [])]
            selectors += [policy["spec"]["podSelector"], *(p["podSelector"] for p in peers)]
        for selector in selectors:
            assert any(selects(selector, p.labels) for p in pods), selector
            for expression in selector.get("matchExpressions", []):
                assert set(expression["values"]) <= {p.app for p in pods}

    def test_every_port_that_is_named_is_there(self, stack: Stack) -> None:
        for service in stack.of("Service").values():
            for port in service["spec"]["ports"]:
                for each in stack.pods():
                    if service["spec"]["selector"].items() <= each.labels.items():
                        assert each.ports()[port["targetPort"]] == port["port"]
        for each in stack.pods():
            for _, container in each.containers():
                for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
                    if "httpGet" in container.get(probe, {}):
                        assert container[probe]["httpGet"]["port"] in each.ports()
        for policy in stack.of("NetworkPolicy").values():
            chosen = [p for p in stack.pods() if selects(policy["spec"]["podSelector"], p.labels)]
            there = {port for p in chosen for port in p.ports().values()}
            for rule in policy["spec"].get("ingress", []):
                assert {p["port"] for p in rule.get("ports", [])} <= there

    def test_every_address_is_a_services(self, stack: Stack) -> None:
        ports = {n: s["spec"]["ports"][0]["port"] for n, s in stack.of("Service").items()}
        (head,) = [p for p in stack.pods() if p.name == "ray-head"]
        ports[HEAD] = head.ports()["dashboard"]
        words = [word for _, c in stack.containers() for word in c.get("args", [])]
        found = re.findall(r"http://\S+", " ".join(words))
        assert {urlsplit(each).hostname for each in found} == {"api", "mlflow", HEAD}
        for each in found:
            assert ports[urlsplit(each).hostname or ""] == urlsplit(each).port
        for key in ("GAPSWEEP_DATABASE_URL", "MLFLOW_BACKEND_STORE_URI"):
            assert urlsplit(stack.secret()[key]).hostname in ports
        assert any(word.startswith("--allowed-hosts=mlflow:*,") for word in words)

    def test_everything_that_is_mounted_is_there_and_used(self, stack: Stack) -> None:
        claims = dict.fromkeys(stack.of("PersistentVolumeClaim"), 0)
        for each in stack.pods():
            volumes = {v["name"]: v for v in each.spec["volumes"]}
            mounted = {m["name"] for _, c in each.containers() for m in c["volumeMounts"]}
            assert mounted == volumes.keys()
            for volume in volumes.values():
                if "persistentVolumeClaim" in volume:
                    claims[volume["persistentVolumeClaim"]["claimName"]] += 1
                elif "configMap" in volume:
                    assert volume["configMap"]["name"] in stack.of("ConfigMap")
                else:
                    assert volume.keys() == {"name", "emptyDir"}
        assert 0 not in claims.values()

    def test_a_claim_of_one_pod_is_no_other_ones(self, stack: Stack) -> None:
        for name, claim in stack.of("PersistentVolumeClaim").items():
            users = [
                p
                for p in stack.pods()
                for v in p.spec["volumes"]
                if v.get("persistentVolumeClaim") == {"claimName": name}
            ]
            if claim["spec"]["accessModes"] != ["ReadWriteMany"]:
                assert [u.single for u in users] == [True], name

    def test_the_home_folder_is_shared_by_all_who_need_it(self, stack: Stack) -> None:
        homes = {
            name
            for each in stack.pods()
            for name, c in each.containers()
            for m in c["volumeMounts"]
            if m["mountPath"] == "/data"
            and each.volume(m["name"])["persistentVolumeClaim"]["claimName"] == "sweeps"
        }
        assert homes == {"ray-head", "ray-worker", "api", "api/migrate"}


class TestSecrets:
    """Nobody knows more than what is needed."""

    def test_a_container_sees_the_secrets_that_it_needs_and_no_other(self, stack: Stack) -> None:
        assert {n: keys for n, c in stack.containers() if (keys := secret_keys(c))} == SEES
        for _, container in stack.containers():
            assert "envFrom" not in container
        for each in stack.pods():
            assert not any("secret" in v or "projected" in v for v in each.spec["volumes"])
            assert each.spec["automountServiceAccountToken"] is False

    def test_every_secret_that_is_named_is_there(self, stack: Stack) -> None:
        there = {(n, key) for n, each in stack.of("Secret").items() for key in each["data"]}
        token = (stack.ray["authOptions"]["secretName"], "auth_token")  # the key that KubeRay takes
        assert there == {token}.union(*SEES.values())
        assert stack.ray["authOptions"]["mode"] == "token"
        assert all(stack.secret().values())

    def test_ray_whose_pods_run_users_code_knows_no_password(self, stack: Stack) -> None:
        for group in stack.ray_groups():
            for _, container in pod("ray", group["template"], single=False).containers():
                assert secret_keys(container) == set()
        secret = stack.of("Secret")[stack.ray["authOptions"]["secretName"]]
        assert secret["data"].keys() == {"auth_token"}

    def test_ray_and_api_share_a_token(self, stack: Stack) -> None:
        (api,) = [c for n, c in stack.containers() if n == "api"]
        environment = {e["name"]: e for e in api["env"]}
        assert environment["RAY_AUTH_MODE"]["value"] == stack.ray["authOptions"]["mode"]
        reference = environment["RAY_AUTH_TOKEN"]["valueFrom"]["secretKeyRef"]
        assert reference["name"] == stack.ray["authOptions"]["secretName"]
        assert reference["key"] == "auth_token"

    def test_the_databases_open_with_the_password_that_postgresql_was_given(
        self, stack: Stack
    ) -> None:
        secret = stack.secret()
        (postgres,) = [c for n, c in stack.containers() if n == "postgres"]
        made = {e["name"]: e.get("value") for e in postgres["env"]}
        created = stack.of("ConfigMap")["initdb"]["data"]["mlflow.sql"]
        databases = {
            "GAPSWEEP_DATABASE_URL": made["POSTGRES_DB"],
            "MLFLOW_BACKEND_STORE_URI": created.removeprefix("CREATE DATABASE ").rstrip(";"),
        }
        for key, database in databases.items():
            url = urlsplit(secret[key])
            assert (url.username, url.path) == (made["POSTGRES_USER"], f"/{database}")
            assert url.password == secret["POSTGRES_PASSWORD"]

    def test_they_are_written_once_at_random_for_their_owner(self, tmp_path: Path) -> None:
        written = []
        for name in ("one", "two"):
            (tmp_path / name).mkdir()
            script = shutil.copy(DOCKER / "k8s" / "secrets", tmp_path / name)
            subprocess.run([script], check=True, capture_output=True)
            files = sorted((tmp_path / name).glob("*.env"))
            assert {f.stem for f in files} == SECRETS
            assert {stat.S_IMODE(f.stat().st_mode) for f in files} == {0o600}
            before = [f.read_bytes() for f in files]
            written.append(dict(text.decode().strip().split("=", 1) for text in before))
            again = subprocess.run([script], capture_output=True, text=True, check=False)
            assert (again.returncode, [f.read_bytes() for f in files]) == (2, before)
            assert again.stderr.startswith(f"error {tmp_path / name}/postgres.env is there already")
        one, two = written
        assert not set(one.values()) & set(two.values())
        assert len(one["auth_token"]) == len(one["POSTGRES_PASSWORD"]) == 64
        assert "docker/k8s/*.env" in (ROOT / ".gitignore").read_text().splitlines()

    def test_passwords_of_an_older_version_are_kept(self, tmp_path: Path) -> None:
        script = shutil.copy(DOCKER / "k8s" / "secrets", tmp_path)
        (tmp_path / "secrets.env").write_text("POSTGRES_PASSWORD=pass\nauth_token=token\n")
        subprocess.run([script], check=True, capture_output=True)
        found = {f.stem: f.read_text().strip() for f in tmp_path.glob("*.env")}
        assert found == {
            "postgres": "POSTGRES_PASSWORD=pass",
            "mlflow": "MLFLOW_BACKEND_STORE_URI=postgresql+psycopg://gapsweep:pass@postgres/mlflow",
            "api": "GAPSWEEP_DATABASE_URL=postgresql+psycopg://gapsweep:pass@postgres/gapsweep",
            "ray": "auth_token=token",
        }


class TestContainers:
    """What each may do, and what it may take."""

    def test_none_may_do_more_than_its_work(self, stack: Stack) -> None:
        for name, container in stack.containers():
            user = 999 if name == "postgres" else 1000
            assert container["securityContext"] == {
                "runAsUser": user,
                "runAsGroup": user,
                "runAsNonRoot": True,
                "readOnlyRootFilesystem": True,
                "allowPrivilegeEscalation": False,
                "capabilities": {"drop": ["ALL"]},
                "seccompProfile": {"type": "RuntimeDefault"},
            }, name
        for each in stack.pods():
            user = 999 if each.name == "postgres" else 1000
            assert each.spec["securityContext"]["fsGroup"] == user
            assert not each.spec.keys() & {"hostNetwork", "hostPID", "hostIPC"}
        labels = stack.of("Namespace")["gapsweep"]["metadata"]["labels"]
        assert labels["pod-security.kubernetes.io/enforce"] == "restricted"

    def test_each_has_a_folder_for_what_it_has_to_write(self, stack: Stack) -> None:
        for each in stack.pods():
            for _, container in each.containers():
                places = {m["mountPath"]: m["name"] for m in container["volumeMounts"]}
                assert "emptyDir" in each.volume(places["/tmp"])

    def test_each_says_what_it_takes_at_least_and_at_most(self, stack: Stack) -> None:
        for name, container in stack.containers():
            least, most = container["resources"]["requests"], container["resources"]["limits"]
            for what in ("cpu", "memory"):
                assert 0 < amount(least[what]) <= amount(most[what]), name

    def test_rays_object_store_has_room_in_the_shared_memory(self, stack: Stack) -> None:
        pods = {p.name: p for p in stack.pods()}
        for group in stack.ray_groups():
            (container,) = group["template"]["spec"]["containers"]
            places = {m["mountPath"]: m["name"] for m in container["volumeMounts"]}
            shared = pods[container["name"]].volume(places["/dev/shm"])["emptyDir"]
            assert shared["medium"] == "Memory"
            store = float(group["rayStartParams"]["object-store-memory"])
            memory = amount(container["resources"]["limits"]["memory"])
            assert store <= amount(shared["sizeLimit"]) <= memory / 2

    def test_no_trial_runs_on_the_head(self, stack: Stack) -> None:
        parameters = stack.ray["headGroupSpec"]["rayStartParams"]
        assert parameters["num-cpus"] == "0"
        assert parameters["dashboard-host"] == "0.0.0.0"

    def test_all_have_one_image_but_postgresql(self, stack: Stack) -> None:
        images = {name: c["image"] for name, c in stack.containers()}
        postgres = images.pop("postgres")
        assert set(images.values()) == {stack.image}
        assert f"image: ${{POSTGRES_IMAGE:-{postgres}}}" in compose()

    def test_mlflow_is_started_as_compose_starts_it(self, stack: Stack) -> None:
        plain = re.sub(r"\$\{\w+:-(.*?)\}", r"\1", compose())
        wanted = yaml.safe_load(plain)["services"]["mlflow"]["command"]
        (mlflow,) = [c for n, c in stack.containers() if n == "mlflow"]
        assert mlflow["args"] == wanted


def test_with_gpus_the_workers_have_one_each_and_nothing_else_is_different(
    stacks: dict[str, Stack],
) -> None:
    plain, cuda = (copy.deepcopy(stacks[name].objects) for name in STACKS)
    for group in Stack(cuda, "").ray["workerGroupSpecs"]:
        spec = group["template"]["spec"]
        assert spec["containers"][0]["resources"]["limits"].pop("nvidia.com/gpu") == "1"
        (toleration,) = spec.pop("tolerations")
        assert toleration["key"] == "nvidia.com/gpu"
    for _, container in Stack(cuda, "").containers():
        container["image"] = container["image"].replace(":cuda", ":latest")
    assert cuda == plain


SLOW = 600
"""Seconds: ten times what a start takes on the slowest machine that the stack was measured on."""


class TestSlowMachines:
    """A part that starts slowly is waited for, and one that answers slowly is not dead."""

    def test_compose_waits_for_every_part(self) -> None:
        services = yaml.safe_load(compose())["services"]
        checked = {n: s["healthcheck"] for n, s in services.items() if "healthcheck" in s}
        checked = {n: c for n, c in checked.items() if c != {"disable": True}}
        assert {"postgres", "mlflow", "ray-head", "ray-worker", "api"} <= checked.keys()
        for name, check in checked.items():
            assert check["start_period"] == f"${{HEALTH_START_PERIOD:-{SLOW}s}}", name
        assert f"HEALTH_START_PERIOD={SLOW}s" in (DOCKER / ".env").read_text()
        assert int(checked["postgres"]["timeout"].rstrip("s")) >= 30

    def test_the_image_asks_patiently_itself(self) -> None:
        found = re.search(
            r"HEALTHCHECK --interval=(\d+)s --timeout=(\d+)s --start-period=(\d+)s --retries=(\d+)",
            (DOCKER / "Dockerfile").read_text(),
        )
        assert found is not None
        _, timeout, start, retries = map(int, found.groups())
        assert (timeout >= 30, start, retries) == (True, SLOW, 6)
        asks = re.search(r"timeout=(\d+)$", (DOCKER / "image" / "healthy").read_text(), re.M)
        assert asks is not None
        assert 20 <= int(asks[1]) < timeout

    def test_kubernetes_ends_nothing_that_still_starts(self, stack: Stack) -> None:
        ended = {n: c for n, c in stack.containers() if "livenessProbe" in c}
        assert ended.keys() == {"api", "mlflow"}
        for container in ended.values():
            start, live = container["startupProbe"], container["livenessProbe"]
            assert start["periodSeconds"] * start["failureThreshold"] >= SLOW
            assert start["httpGet"] == live["httpGet"]
            assert min(start["timeoutSeconds"], live["timeoutSeconds"]) >= 30


def compose() -> str:
    return (DOCKER / "compose.yaml").read_text(encoding="utf-8")
