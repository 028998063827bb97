"""What `keda render` prints fits the worker and its settings, and breaks no rule."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from grid_async_task import Settings, keda
from grid_async_task.domain.errors import ConfigurationError
from grid_async_task.keda import Mode, Target

TARGET = Target("reports", "registry.example.com/reports:1.4", "jobs", "reports-secrets", 25)
SETTINGS = Settings(queue="reports", amqp_url="amqp://user:hunter2@broker:5672/")

#: every setting that can change the manifests, none at its default
MANY = Settings(
    amqp_url="amqps://user:hunter2@broker/team%2Fa",
    mysql_url="mysql://root:hunter2@db/tasks",
    queue="报表 #1: yes",
    table_prefix="t_",
    queue_type="quorum",
    handler="reports:Report",
    task_timeout=7200,
    idle_timeout=90,
    shutdown_grace=100.5,
    retry_delay=900,
    retry_strategy="exponential",
    retry_jitter=0.2,
    message_max_bytes="1 MiB",
    callback_secret="whsec_aHVudGVyMg==",
    callback_use_proxy=True,
    callback_allowed_hosts="a.example.com,*.svc",
    feishu_webhook_url="https://open.feishu.cn/open-apis/bot/v2/hook/hunter2",
    feishu_secret="hunter2",
    log_format="json",
    log_retention="12 hours",
    health_port=9000,
)


def rendered(settings: Settings, mode: Mode, target: Target = TARGET) -> dict[str, Any]:
    """By kind."""
    documents = list(yaml.safe_load_all(keda.render(settings, mode, target)))
    assert len({document["kind"] for document in documents}) == len(documents)
    return {document["kind"]: document for document in documents}


def pod_of(manifests: dict[str, Any]) -> dict[str, Any]:
    if "ScaledJob" in manifests:
        pod: dict[str, Any] = manifests["ScaledJob"]["spec"]["jobTargetRef"]["template"]["spec"]
    else:
        pod = manifests["Deployment"]["spec"]["template"]["spec"]
    return pod


def variables_of(pod: dict[str, Any]) -> dict[str, Any]:
    env = pod["containers"][0]["env"]
    names = [variable["name"] for variable in env]
    assert len(set(names)) == len(names)
    return {variable["name"]: variable.get("value", variable.get("valueFrom")) for variable in env}


@pytest.mark.parametrize("mode", Mode)
@pytest.mark.parametrize("settings", [SETTINGS, Settings(queue="q"), replace(MANY, task_timeout=300.0)])
@pytest.mark.parametrize("target", [TARGET, replace(TARGET, namespace=None)])
def test_it_breaks_no_rule(mode: Mode, settings: Settings, target: Target) -> None:
    manifests = keda.read_manifests("keda.yaml", keda.render(settings, mode, target))
    assert len(manifests) in (3, 4)
    assert keda.lint(manifests) == []


def test_for_long_tasks() -> None:
    manifests = rendered(MANY, Mode.SCALED_JOB)
    assert list(manifests) == ["Job", "TriggerAuthentication", "ScaledJob"]
    assert keda.lint(keda.read_manifests("keda.yaml", keda.render(MANY, Mode.SCALED_JOB, TARGET))) == []
    spec = manifests["ScaledJob"]["spec"]
    assert (spec["minReplicaCount"], spec["maxReplicaCount"]) == (0, 25)
    assert spec["rollout"] == {"strategy": "gradual"}
    assert spec["scalingStrategy"] == {"strategy": "accurate"}
    (trigger,) = spec["triggers"]
    assert trigger["metadata"] == {
        "protocol": "amqp",
        "mode": "QueueLength",
        "value": "1",
        "queueName": "报表 #1: yes",
        "vhostName": "team/a",
    }
    assert trigger["authenticationRef"]["name"] == manifests["TriggerAuthentication"]["metadata"]["name"]
    assert manifests["TriggerAuthentication"]["spec"]["secretTargetRef"] == [
        {"parameter": "host", "name": "reports-secrets", "key": "amqp-url"}
    ]
    pod = pod_of(manifests)
    assert pod["terminationGracePeriodSeconds"] == 116
    assert pod["restartPolicy"] == "Never"
    assert variables_of(pod)["GRID_ASYNC_TASK_IDLE_TIMEOUT"] == "90"


def test_a_job_ends_also_where_no_idle_timeout_is_set() -> None:
    assert variables_of(pod_of(rendered(SETTINGS, Mode.SCALED_JOB)))["GRID_ASYNC_TASK_IDLE_TIMEOUT"] == "30"


def test_for_short_tasks() -> None:
    manifests = rendered(replace(MANY, task_timeout=300.0), Mode.SCALED_OBJECT)
    assert list(manifests) == ["Job", "TriggerAuthentication", "Deployment", "ScaledObject"]
    spec = manifests["ScaledObject"]["spec"]
    assert spec["triggers"][0]["metadata"]["protocol"] == "http"
    assert spec["cooldownPeriod"] == 900
    assert spec["scaleTargetRef"] == {"name": manifests["Deployment"]["metadata"]["name"]}
    assert manifests["TriggerAuthentication"]["spec"]["secretTargetRef"][0]["key"] == "management-url"
    deployment = manifests["Deployment"]["spec"]
    assert "replicas" not in deployment
    assert deployment["selector"]["matchLabels"] == deployment["template"]["metadata"]["labels"]
    assert deployment["selector"]["matchLabels"] != manifests["Job"]["spec"]["template"]["metadata"]["labels"]
    variables = variables_of(pod_of(manifests))
    assert variables["GRID_ASYNC_TASK_IDLE_TIMEOUT"] == "0"
    assert variables["GRID_ASYNC_TASK_SHUTDOWN_GRACE"] == "300"
    assert pod_of(manifests)["terminationGracePeriodSeconds"] == 315


@pytest.mark.parametrize(("name", "value"), [("task_timeout", 601), ("shutdown_grace", 3600)])
def test_long_tasks_are_refused_for_a_scaled_object(name: str, value: float) -> None:
    with pytest.raises(ConfigurationError, match=f"GRID_ASYNC_TASK_{name.upper()} is {value} s.*--mode scaledjob"):
        keda.render(replace(SETTINGS, **{name: value}), Mode.SCALED_OBJECT, TARGET)


@pytest.mark.parametrize("mode", Mode)
def test_table_and_queues_are_made_first_by_the_same_settings(mode: Mode) -> None:
    manifests = rendered(SETTINGS, mode)
    job = manifests["Job"]
    assert next(iter(manifests)) == "Job"
    assert job["metadata"]["name"] == "reports-migrate"
    (container,) = job["spec"]["template"]["spec"]["containers"]
    assert container["command"] == ["grid-async-task", "migrate"]
    assert container["image"] == pod_of(manifests)["containers"][0]["image"] == TARGET.image
    of_the_worker = variables_of(pod_of(manifests))
    assert variables_of(job["spec"]["template"]["spec"]) | {"GRID_ASYNC_TASK_IDLE_TIMEOUT": "0"} == of_the_worker | {
        "GRID_ASYNC_TASK_IDLE_TIMEOUT": "0"
    }


@pytest.mark.parametrize("mode", Mode)
@pytest.mark.parametrize(("settings", "port"), [(SETTINGS, 8080), (replace(SETTINGS, health_port=9000), 9000)])
def test_kubernetes_asks_the_worker_where_it_answers(mode: Mode, settings: Settings, port: int) -> None:
    manifests = rendered(settings, mode)
    (worker,) = pod_of(manifests)["containers"]
    assert worker["ports"] == [{"name": "health", "containerPort": port}]
    assert variables_of(pod_of(manifests))["GRID_ASYNC_TASK_HEALTH_PORT"] == str(port)
    asked = {probe: worker[probe]["httpGet"] for probe in ("startupProbe", "livenessProbe", "readinessProbe")}
    assert {each["port"] for each in asked.values()} == {"health"}
    assert [each["path"] for each in asked.values()] == ["/started", "/live", "/ready"]
    # a worker that can't answer for a moment keeps its task
    assert worker["livenessProbe"]["periodSeconds"] * worker["livenessProbe"]["failureThreshold"] >= 120
    (migrate,) = manifests["Job"]["spec"]["template"]["spec"]["containers"]
    assert "livenessProbe" not in migrate


@pytest.mark.parametrize("settings", [SETTINGS, MANY])
def test_the_worker_gets_the_settings_as_they_are(settings: Settings) -> None:
    added = {} if settings.idle_timeout else {"idle_timeout": 30.0}
    expected = replace(settings, health_port=settings.health_port or 8080, **added)
    variables = variables_of(pod_of(rendered(settings, Mode.SCALED_JOB)))
    in_secret = {name: value["secretKeyRef"] for name, value in variables.items() if isinstance(value, dict)}
    plain = {name: value for name, value in variables.items() if name not in in_secret}
    hidden = {name.removeprefix("GRID_ASYNC_TASK_").lower() for name in in_secret}
    given = {name: getattr(settings, name) for name in hidden}
    assert Settings.from_environment(plain, start_directory="/", **given) == expected
    assert all(reference["name"] == TARGET.secret for reference in in_secret.values())
    assert {"amqp_url", "mysql_url"} <= hidden


@pytest.mark.parametrize("mode", Mode)
def test_no_secret_is_printed_and_the_secret_is_explained(mode: Mode) -> None:
    text = keda.render(replace(MANY, task_timeout=300.0), mode, TARGET)
    assert "hunter2" not in text
    assert "aHVudGVyMg" not in text
    wanted = {
        reference["key"] for reference in secret_references(json.loads(json.dumps(list(yaml.safe_load_all(text)))))
    }
    assert {"amqp-url", "callback-secret", "feishu-secret", "feishu-webhook-url", "mysql-url"} <= wanted
    assert {key for key in wanted if f"--from-literal='{key}=" not in text} == set()
    assert "create secret generic reports-secrets --namespace jobs" in text


def secret_references(part: Any) -> list[dict[str, str]]:
    if isinstance(part, list):
        return [found for inner in part for found in secret_references(inner)]
    if not isinstance(part, dict):
        return []
    own = [part["secretKeyRef"]] if "secretKeyRef" in part else part.get("secretTargetRef", [])
    return own + [found for inner in part.values() for found in secret_references(inner)]


@pytest.mark.parametrize("mode", Mode)
def test_everything_is_in_the_namespace_or_none_is(mode: Mode) -> None:
    assert {each["metadata"].get("namespace") for each in rendered(SETTINGS, mode).values()} == {"jobs"}
    nowhere = rendered(SETTINGS, mode, replace(TARGET, namespace=None))
    assert all("namespace" not in each["metadata"] for each in nowhere.values())


def test_the_virtual_host_is_left_out_where_the_broker_is_not_known() -> None:
    assert "vhostName" not in keda.render(Settings(queue="q"), Mode.SCALED_JOB, TARGET)
    assert "vhostName: /\n" in keda.render(SETTINGS, Mode.SCALED_JOB, TARGET)


@pytest.mark.parametrize("mode", Mode)
def test_the_file_of_recurring_tasks_is_part_of_it(mode: Mode, tmp_path: Path) -> None:
    file = tmp_path / "recurring.yaml"
    file.write_text('# "nightly"\nnightly: {schedule: "0 2 * * *", queue: 报表}\n', encoding="utf-8")
    settings = replace(SETTINGS, recurring=str(file))
    manifests = rendered(settings, mode)
    assert manifests["ConfigMap"]["data"] == {"recurring.yaml": file.read_text(encoding="utf-8")}
    assert manifests["ConfigMap"]["metadata"]["namespace"] == "jobs"
    variables = variables_of(pod_of(manifests))
    assert variables["GRID_ASYNC_TASK_RECURRING"] == "/etc/grid-async-task/recurring.yaml"
    # as it is written, for people to read, and nothing of this machine
    text = keda.render(settings, mode, TARGET)
    assert '  recurring.yaml: |\n    # "nightly"\n    nightly: {schedule: "0 2 * * *", queue: 报表}\n' in text
    assert str(tmp_path) not in text
    # applied in this order: workers that are new before their file is would read the old one
    kinds = list(manifests)
    assert kinds[0] == "Job"
    assert kinds.index("ConfigMap") < kinds.index("ScaledJob" if mode is Mode.SCALED_JOB else "Deployment")
    # without it nobody sends what is due while there is no worker
    (sweep,) = manifests["CronJob"]["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"]
    assert sweep["command"] == ["grid-async-task", "sweep"]
    assert rendered(replace(settings, recurring=None), mode).keys() == manifests.keys() - {"ConfigMap", "CronJob"}


def test_a_file_of_recurring_tasks_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"RECURRING: .*nowhere\.yaml can't be read"):
        keda.render(replace(SETTINGS, recurring=str(tmp_path / "nowhere.yaml")), Mode.SCALED_JOB, TARGET)


def test_without_a_queue_there_is_nothing_to_scale_by() -> None:
    with pytest.raises(ConfigurationError, match="rabbitmq_queue"):
        keda.render(Settings(), Mode.SCALED_JOB, TARGET)


@pytest.mark.parametrize(
    ("what", "value"),
    [
        ("name", "Reports"),
        ("name", ""),
        ("name", "a" * 41),
        ("name", "x\n"),
        ("namespace", "a_b"),
        ("secret", "-a"),
        ("image", ""),
        ("image", "a b"),
    ],
)
def test_names_that_kubernetes_refuses(what: str, value: str) -> None:
    with pytest.raises(ConfigurationError, match=f"--{what} is "):
        replace(TARGET, **{what: value})
