"""The examples of a deployment: each is what systemd, Compose or Kubernetes takes, and what the command takes."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from voicespan.cli import main
from voicespan.runtime import environment_variables

DEPLOY = Path(__file__).parents[2] / "examples" / "deploy"
UNIT = DEPLOY / "voicespan-deliver.service"
KUBERNETES = sorted((DEPLOY / "kubernetes").glob("*.yaml"))
PROBED = {"/ready", "/metrics"}


def options(arguments):
    """What the command makes of its arguments; argparse ends the process where it does not know them."""
    return main._parser().parse_args(["deliver", *map(str, arguments)])


def known(name):
    return name.startswith("LANGSMITH_") or name in vars(environment_variables)


def pod(document):
    return document["spec"]["template"]["spec"]


def containers(spec):
    return [*spec.get("initContainers", ()), *spec["containers"]]


def variables(container):
    return {each["name"]: each for each in container.get("env", ())}


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="there is no systemd")
def test_systemd_takes_the_unit(tmp_path):
    command = Path(sys.executable).with_name("voicespan")
    unit = tmp_path / UNIT.name
    written = UNIT.read_text(encoding="utf-8").replace("/opt/voicespan/bin/voicespan", str(command))
    unit.write_text(written, encoding="utf-8")
    found = subprocess.run(
        ["systemd-analyze", "verify", str(unit)], capture_output=True, text=True, check=False
    )
    assert (found.returncode, [line for line in found.stderr.splitlines() if UNIT.name in line]) == (0, [])


def test_the_unit_calls_the_command_as_it_is_called():
    lines = [
        line.partition("=")[::2] for line in UNIT.read_text(encoding="utf-8").splitlines() if "=" in line
    ]
    (called,) = (value for name, value in lines if name == "ExecStart")
    program, command, *arguments = shlex.split(called)
    assert (program, command) == ("/opt/voicespan/bin/voicespan", "deliver")
    found = options(arguments)
    (stop,) = (value for name, value in lines if name == "TimeoutStopSec")
    assert found.grace < int(stop)
    assert all(known(value.partition("=")[0]) for name, value in lines if name == "Environment")
    assert "LANGSMITH_API_KEY" not in UNIT.read_text(encoding="utf-8")


@pytest.mark.parametrize("path", KUBERNETES, ids=lambda path: path.stem)
def test_kubernetes_takes_it(path):
    import kubernetes_validate

    for document in yaml.safe_load_all(path.read_text(encoding="utf-8")):
        kubernetes_validate.validate(document, "1.31", strict=True)


@pytest.mark.parametrize("path", KUBERNETES, ids=lambda path: path.stem)
def test_the_containers_of_a_pod_fit_together(path):
    spec = pod(yaml.safe_load(path.read_text(encoding="utf-8")))
    volumes = {volume["name"] for volume in spec["volumes"]}
    user = spec.get("securityContext", {}).get("runAsUser")
    seen = 0
    for container in containers(spec):
        assert {mount["name"] for mount in container["volumeMounts"]} <= volumes
        assert all(map(known, variables(container)))
        if container["name"] != "deliverer":
            # No key where people's words are handled.
            assert "LANGSMITH_API_KEY" not in variables(container)
            continue
        seen += 1
        found = options(container["args"])
        if not found.once:
            assert found.grace < spec["terminationGracePeriodSeconds"]
            assert found.http.rpartition(":")[2] == str(container["ports"][0]["containerPort"])
            assert container["readinessProbe"]["httpGet"]["path"] in PROBED
        # As root it would own what it writes, which the application must be able to read.
        assert container.get("securityContext", {}).get("runAsUser", user) == 10001
        assert variables(container)["LANGSMITH_API_KEY"]["valueFrom"]["secretKeyRef"]
    assert seen == 1


def test_the_sidecar_and_its_application_have_one_spool_and_only_one_of_them_delivers():
    spec = pod(yaml.safe_load((DEPLOY / "kubernetes" / "sidecar.yaml").read_text(encoding="utf-8")))
    by_name = {container["name"]: variables(container) for container in containers(spec)}
    places = {name: each["VOICESPAN_SPOOL_DIR"]["value"] for name, each in by_name.items()}
    assert len(set(places.values())) == 1
    assert by_name["agent"]["VOICESPAN_DELIVERY"]["value"] == "spool"
    # Ended after the application: that is what restartPolicy means in an init container.
    assert [each.get("restartPolicy") for each in spec["initContainers"]] == ["Always"]


def test_compose_has_one_volume_for_both_and_the_key_for_one():
    document = yaml.safe_load((DEPLOY / "compose.yaml").read_text(encoding="utf-8"))
    services = document["services"]
    agent, deliverer = services["agent"], services["deliverer"]
    assert agent["environment"]["VOICESPAN_DELIVERY"] == "spool"
    assert agent["environment"]["VOICESPAN_SPOOL_DIR"] == deliverer["environment"]["VOICESPAN_SPOOL_DIR"]
    assert agent["user"] == deliverer["user"] == "10001"
    assert "LANGSMITH_API_KEY" in deliverer["environment"]
    assert "LANGSMITH_API_KEY" not in agent["environment"]
    for service in services.values():
        assert {mount.partition(":")[0] for mount in service["volumes"]} <= set(document["volumes"])
        assert set(service.get("depends_on", ())) <= set(services)
        assert all(map(known, service.get("environment", ())))
    found = options(deliverer["command"])
    assert found.grace < int(deliverer["stop_grace_period"].removesuffix("s"))
    port = found.http.rpartition(":")[2]
    assert f":{port}/ready" in deliverer["healthcheck"]["test"][-1]
    compile(deliverer["healthcheck"]["test"][-1], "healthcheck", "exec")


def test_the_image_calls_the_command_as_the_user_of_the_examples():
    written = (DEPLOY / "Dockerfile").read_text(encoding="utf-8")
    assert re.search(r'^ENTRYPOINT \["voicespan", "deliver"\]$', written, re.MULTILINE)
    assert re.search(r"^USER 10001$", written, re.MULTILINE)
