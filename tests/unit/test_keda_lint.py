"""Every rule of `keda lint` on manifests that break it, and on some that do not."""

from __future__ import annotations

import copy
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from grid_async_task import keda
from grid_async_task.keda import Finding, NotManifests
from grid_async_task.keda.linter import RULES

GOOD_JOB = """
apiVersion: keda.sh/v1alpha1
kind: ScaledJob
metadata: {name: reports}
spec:
  jobTargetRef:
    template:
      spec:
        terminationGracePeriodSeconds: 40
        containers:
          - name: worker
            env:
              - {name: GRID_ASYNC_TASK_IDLE_TIMEOUT, value: "30"}
              - {name: GRID_ASYNC_TASK_TASK_TIMEOUT, value: "7200"}
              - {name: GRID_ASYNC_TASK_AMQP_URL, valueFrom: {secretKeyRef: {name: reports, key: amqp-url}}}
  rollout: {strategy: gradual}
  scalingStrategy: {strategy: accurate}
  triggers:
    - type: rabbitmq
      metadata: {protocol: amqp, mode: QueueLength, value: "1", queueName: reports}
      authenticationRef: {name: reports}
"""
GOOD_OBJECT = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: mails}
spec:
  template:
    spec:
      terminationGracePeriodSeconds: 45
      containers:
        - name: worker
          env:
            - {name: GRID_ASYNC_TASK_TASK_TIMEOUT, value: "30"}
            - {name: GRID_ASYNC_TASK_SHUTDOWN_GRACE, value: "30"}
---
apiVersion: keda.sh/v1alpha1
kind: ScaledObject
metadata: {name: mails}
spec:
  scaleTargetRef: {name: mails}
  triggers:
    - type: rabbitmq
      metadata: {protocol: http, mode: QueueLength, value: "20", queueName: mails}
      authenticationRef: {name: mails}
"""


class Files:
    """Good manifests that a test spoils in one place."""

    def __init__(self, text: str) -> None:
        self.documents = [copy.deepcopy(document) for document in yaml.safe_load_all(text)]

    def __getitem__(self, kind: str) -> Any:
        (document,) = [each for each in self.documents if each["kind"] == kind]
        return document

    @property
    def scaler(self) -> dict[str, Any]:
        spec: dict[str, Any] = self.documents[-1]["spec"]
        return spec

    @property
    def trigger(self) -> dict[str, Any]:
        metadata: dict[str, Any] = self.scaler["triggers"][0]["metadata"]
        return metadata

    @property
    def pod(self) -> dict[str, Any]:
        of = self.scaler["jobTargetRef"] if "jobTargetRef" in self.scaler else self.documents[0]["spec"]
        spec: dict[str, Any] = of["template"]["spec"]
        return spec

    @property
    def container(self) -> dict[str, Any]:
        container: dict[str, Any] = self.pod["containers"][0]
        return container

    def set(self, **variables: str | None) -> None:
        """Variables of the worker; None takes one away."""
        names = {f"GRID_ASYNC_TASK_{name}": value for name, value in variables.items()}
        kept = [each for each in self.container["env"] if each["name"] not in names]
        given = [{"name": name, "value": value} for name, value in names.items() if value is not None]
        self.container["env"] = kept + given

    def add(self, text: str) -> None:
        self.documents[0:0] = list(yaml.safe_load_all(text))

    def lint(self) -> list[Finding]:
        return keda.lint(keda.read_manifests("keda.yaml", yaml.safe_dump_all(self.documents)))

    @property
    def broken(self) -> list[str]:
        return [finding.rule for finding in self.lint()]


@pytest.fixture
def job() -> Files:
    return Files(GOOD_JOB)


@pytest.fixture
def scaled() -> Files:
    return Files(GOOD_OBJECT)


@pytest.mark.parametrize("text", [GOOD_JOB, GOOD_OBJECT, GOOD_JOB + "---" + GOOD_OBJECT])
def test_good_manifests_break_no_rule(text: str) -> None:
    assert Files(text).lint() == []


def test_a_finding_says_where_what_and_what_to_do(job: Files) -> None:
    del job.scaler["rollout"]
    (finding,) = job.lint()
    assert finding.where == "keda.yaml: ScaledJob/reports"
    assert "deletes its running Jobs" in finding.text
    assert finding.advice == "write rollout: {strategy: gradual}"


# -- the trigger ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", [GOOD_JOB, GOOD_OBJECT])
def test_queue_length(text: str) -> None:
    files = Files(text)
    del files.trigger["mode"], files.trigger["value"]
    files.trigger["queueLength"] = "1"
    assert files.broken == ["queue-length"]


@pytest.mark.parametrize(
    "wrong",
    [
        {"value": "5"},
        {"value": "0"},
        {"value": "-1"},
        {"value": "one"},
        {"value": "nan"},
        {"value": None},
        {"value": 1},
        {"mode": "MessageRate"},
        {"mode": None},
    ],
)
def test_threshold(job: Files, wrong: dict[str, Any]) -> None:
    job.trigger.update(wrong)
    for name in [name for name, value in job.trigger.items() if value is None]:
        del job.trigger[name]
    assert job.broken == ["threshold"]


def test_threshold_of_a_scaled_object_may_be_any(scaled: Files) -> None:
    scaled.trigger["value"] = "0.5"
    assert scaled.broken == []


@pytest.mark.parametrize(("activation", "broken"), [("1", True), ("20", True), ("0", False), ("0.5", False)])
def test_activation(scaled: Files, activation: str, broken: bool) -> None:
    scaled.trigger["activationValue"] = activation
    assert scaled.broken == ["activation"] * broken


def test_activation_above_the_value_is_named(scaled: Files) -> None:
    scaled.trigger["activationValue"] = "30"
    assert "although value 20 asks for a worker" in scaled.lint()[0].text


@pytest.mark.parametrize(
    ("protocol", "strategy", "broken"),
    [
        ({"protocol": "http"}, "accurate", True),
        ({"host": "http://broker:15672/"}, "accurate", True),
        ({"protocol": "http", "excludeUnacknowledged": "true"}, "accurate", False),
        ({"protocol": "http"}, "default", False),
        ({"protocol": "amqp"}, "default", True),
        ({"protocol": "amqp"}, None, True),
        ({"protocol": "amqp"}, "eager", False),
        ({"host": "amqps://broker/"}, "accurate", False),
        ({"protocol": "auto"}, "accurate", False),
    ],
)
def test_job_protocol(job: Files, protocol: dict[str, str], strategy: str | None, broken: bool) -> None:
    del job.trigger["protocol"]
    job.trigger.update(protocol)
    job.scaler["scalingStrategy"] = {"strategy": strategy} if strategy else {}
    assert job.broken == ["job-protocol"] * broken


@pytest.mark.parametrize(
    ("protocol", "broken"),
    [
        ({"protocol": "amqp"}, True),
        ({"protocol": "http", "excludeUnacknowledged": "true"}, True),
        ({"protocol": "auto"}, False),
    ],
)
def test_object_protocol(scaled: Files, protocol: dict[str, str], broken: bool) -> None:
    scaled.trigger.update(protocol)
    assert scaled.broken == ["object-protocol"] * broken


def test_triggers_of_other_kinds_are_not_ours(job: Files) -> None:
    job.scaler["triggers"] = [{"type": "cron", "metadata": {"desiredReplicas": 5}}]
    del job.scaler["rollout"]
    assert job.lint() == []


@pytest.mark.parametrize(
    ("queue", "broken"),
    [("reports", False), ("mails", True), (None, False), ("", False), ("$(TEAM)-reports", False)],
)
def test_queue_name(job: Files, queue: str | None, broken: bool) -> None:
    job.set(QUEUE=queue)
    assert job.broken == ["queue-name"] * broken


def test_queue_name_that_the_files_do_not_tell(job: Files) -> None:
    job.container["env"].append({"name": "GRID_ASYNC_TASK_QUEUE", "valueFrom": {"configMapKeyRef": {"name": "x"}}})
    assert job.broken == []


def test_queue_name_by_a_pattern_is_not_compared(job: Files) -> None:
    job.set(QUEUE="reports-1")
    job.trigger.update(queueName="^reports-", useRegex="true")
    assert job.broken == []


# -- the scaler and its pods --------------------------------------------------------------------------------


@pytest.mark.parametrize("rollout", [None, {}, {"strategy": "default"}, {"strategy": "immediate"}, "gradual"])
def test_rollout(job: Files, rollout: Any) -> None:
    job.scaler["rollout"] = rollout
    assert job.broken == ["rollout"]


def test_rollout_by_its_older_name(job: Files) -> None:
    del job.scaler["rollout"]
    job.scaler["rolloutStrategy"] = "gradual"
    assert job.broken == []


def test_grace_period_below_shutdown_grace(job: Files) -> None:
    job.pod["terminationGracePeriodSeconds"] = 39
    assert job.broken == ["grace-period"]
    job.pod["terminationGracePeriodSeconds"] = 315
    job.set(SHUTDOWN_GRACE="300")
    assert job.broken == []
    job.set(SHUTDOWN_GRACE="301")
    assert "terminationGracePeriodSeconds: 316" in job.lint()[0].advice


def test_grace_period_that_is_kubernetes_own(job: Files) -> None:
    del job.pod["terminationGracePeriodSeconds"]
    assert "killed after 30 s" in job.lint()[0].text


def test_grace_period_below_the_longest_task(scaled: Files) -> None:
    scaled.set(TASK_TIMEOUT="60", SHUTDOWN_GRACE="60")
    assert scaled.broken == ["grace-period"]
    scaled.pod["terminationGracePeriodSeconds"] = 75
    assert scaled.broken == []
    scaled.set(SHUTDOWN_GRACE="59")
    assert "interrupts tasks" in scaled.lint()[0].text


def test_grace_period_of_a_worker_that_nobody_scales(scaled: Files) -> None:
    del scaled.documents[-1]
    pod = scaled.documents[0]["spec"]["template"]["spec"]
    pod["terminationGracePeriodSeconds"] = 44
    assert scaled.broken == ["grace-period"]


def test_idle_exit_in_a_deployment(scaled: Files) -> None:
    scaled.set(IDLE_TIMEOUT="0")
    assert scaled.broken == []
    scaled.set(IDLE_TIMEOUT="60")
    assert scaled.broken == ["idle-exit"]
    scaled["Deployment"]["kind"] = "StatefulSet"
    scaled.scaler["scaleTargetRef"]["kind"] = "StatefulSet"
    assert scaled.broken == ["idle-exit"]


@pytest.mark.parametrize("idle", ["0", None, ""])
def test_no_idle_exit_in_a_job(job: Files, idle: str | None) -> None:
    job.set(IDLE_TIMEOUT=idle)
    assert job.broken == ["idle-exit"]


def test_deployments_of_others_are_not_ours(scaled: Files) -> None:
    scaled.documents[-1:] = []
    scaled.documents[0]["spec"]["template"]["spec"] = {"containers": [{"name": "nginx", "env": []}]}
    assert scaled.lint() == []


def test_min_replicas(job: Files) -> None:
    job.scaler["minReplicaCount"] = 2
    assert job.broken == ["min-replicas"]
    job.scaler["minReplicaCount"] = 0
    assert job.broken == []


def test_min_replicas_of_workers_that_stay(scaled: Files) -> None:
    scaled.scaler["minReplicaCount"] = 2
    assert scaled.broken == []
    scaled.set(IDLE_TIMEOUT="60")
    assert scaled.broken == ["idle-exit", "min-replicas"]


def test_long_tasks_of_a_scaled_object(scaled: Files) -> None:
    scaled.pod["terminationGracePeriodSeconds"] = 7215
    scaled.set(TASK_TIMEOUT="7200", SHUTDOWN_GRACE="7200")
    assert scaled.broken == ["long-tasks"]
    scaled.set(TASK_TIMEOUT="600", SHUTDOWN_GRACE="600")
    assert scaled.broken == []


def test_long_tasks_that_only_the_grace_period_tells_of(scaled: Files) -> None:
    scaled.set(TASK_TIMEOUT=None)
    assert scaled.broken == []
    scaled.pod["terminationGracePeriodSeconds"] = 3600
    assert scaled.broken == ["long-tasks"]


def test_the_older_name_of_the_time_limit_counts(scaled: Files) -> None:
    scaled.set(TASK_TIMEOUT=None, TIMEOUT="7200")
    assert "long-tasks" in scaled.broken


def test_cooldown(scaled: Files) -> None:
    scaled.scaler["cooldownPeriod"] = 59
    assert scaled.broken == ["cooldown"]  # RETRY_DELAY is 60 by default
    scaled.scaler["cooldownPeriod"] = 60
    assert scaled.broken == []
    del scaled.scaler["cooldownPeriod"]
    scaled.set(RETRY_DELAY="301")
    assert scaled.broken == ["cooldown"]
    scaled.scaler["minReplicaCount"] = 1
    assert scaled.broken == []


# -- credentials ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "value"), [("host", "amqp://user:hunter2@broker/"), ("password", "hunter2"), ("PASSWORD", "hunter2")]
)
def test_credentials_in_a_trigger(job: Files, name: str, value: str) -> None:
    job.trigger[name] = value
    (finding,) = job.lint()
    assert finding.rule == "credentials"
    assert "hunter2" not in str(finding)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("GRID_ASYNC_TASK_MYSQL_URL", "mysql://root:hunter2@db/tasks"),
        ("GRID_ASYNC_TASK_FEISHU_WEBHOOK_URL", "https://open.feishu.cn/open-apis/bot/v2/hook/hunter2"),
        ("GRID_ASYNC_TASK_CALLBACK_SECRET", "whsec_aHVudGVyMg=="),
        ("RABBITMQ_PASSWORD", "hunter2"),
        ("SENTRY_DSN", "https://key:hunter2@sentry.example.com/1"),
    ],
)
def test_credentials_in_variables(job: Files, name: str, value: str) -> None:
    job.container["env"].append({"name": name, "value": value})
    (finding,) = job.lint()
    assert (finding.rule, finding.text) == ("credentials", f"{name} holds a secret")
    assert value not in str(finding)


def test_credentials_in_a_config_map(job: Files) -> None:
    job.add("{kind: ConfigMap, metadata: {name: c}, data: {GRID_ASYNC_TASK_AMQP_URL: 'amqp://a:b@c/'}}")
    assert job.broken == ["credentials"]


def test_credentials_in_a_cron_job(job: Files) -> None:
    env = "[{name: GRID_ASYNC_TASK_MYSQL_URL, value: 'mysql://root:hunter2@db/tasks'}]"
    pod = f"{{containers: [{{env: {env}}}]}}"
    job.add(f"{{kind: CronJob, metadata: {{name: c}}, spec: {{jobTemplate: {{spec: {{template: {{spec: {pod}}}}}}}}}}}")
    assert job.broken == ["credentials"]


@pytest.mark.parametrize("url", ["amqp://broker:5672/", "https://example.com/", "amqp://user@broker/"])
def test_urls_without_a_password_are_none(job: Files, url: str) -> None:
    job.trigger["host"] = url.replace("https", "amqp")
    job.container["env"].append({"name": "ELSEWHERE", "value": url})
    assert job.broken == []


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("GRID_ASYNC_TASK_AMQP_URL", "amqp://$(USER):$(PASSWORD)@broker/"),
        ("GRID_ASYNC_TASK_FEISHU_SECRET", "$(FEISHU_SECRET)"),
        ("UPSTREAM", "http://$(HOST):$(PORT)/"),
        ("MAIL", "http://example.com:80/team@example.com"),
    ],
)
def test_variables_that_are_filled_in_are_no_credentials(job: Files, name: str, value: str) -> None:
    job.container["env"] = [each for each in job.container["env"] if each["name"] != name]
    job.container["env"].append({"name": name, "value": value})
    assert job.broken == []


# -- the broker -----------------------------------------------------------------------------------------------

BROKERS = {
    "the operator's cluster": "kind: RabbitmqCluster\nspec: {rabbitmq: {additionalConfig: 'consumer_timeout = %d'}}",
    "advanced configuration": "kind: RabbitmqCluster\n"
    "spec: {rabbitmq: {advancedConfig: '[{rabbit, [{consumer_timeout, %d}]}].'}}",
    "a configuration file": 'kind: ConfigMap\ndata: {rabbitmq.conf: "log.console = true\\nconsumer_timeout = %d"}',
    "a policy": "kind: Policy\nspec: {definition: {consumer-timeout: %d}}",
    "a queue": "kind: Queue\nspec: {arguments: {x-consumer-timeout: %d}}",
}


@pytest.mark.parametrize("broker", BROKERS.values(), ids=list(BROKERS))
@pytest.mark.parametrize(("timeout_ms", "broken"), [(1_800_000, True), (7_199_999, True), (7_200_000, False)])
def test_ack_timeout(job: Files, broker: str, timeout_ms: int, broken: bool) -> None:
    job.add(broker % timeout_ms)
    assert job.broken == ["ack-timeout"] * broken


def test_ack_timeout_in_a_comment_is_none(job: Files) -> None:
    job.add("kind: ConfigMap\ndata: {rabbitmq.conf: '# consumer_timeout = 1000'}")
    assert job.broken == []


# -- what the files do not show -------------------------------------------------------------------------------


def test_a_variable_from_elsewhere_is_not_guessed(job: Files) -> None:
    job.set(IDLE_TIMEOUT=None)
    job.container["env"].append({"name": "GRID_ASYNC_TASK_IDLE_TIMEOUT", "valueFrom": {"fieldRef": {}}})
    assert job.broken == []


def test_variables_from_a_secret_are_not_guessed(job: Files) -> None:
    job.set(IDLE_TIMEOUT=None)
    job.container["envFrom"] = [{"secretRef": {"name": "settings"}}]
    assert job.broken == []


@pytest.mark.parametrize("reference", ["envFrom", "valueFrom"])
def test_a_config_map_among_the_files_is_read(scaled: Files, reference: str) -> None:
    scaled.add('{kind: ConfigMap, metadata: {name: settings}, data: {GRID_ASYNC_TASK_IDLE_TIMEOUT: "60"}}')
    if reference == "envFrom":
        scaled["Deployment"]["spec"]["template"]["spec"]["containers"][0]["envFrom"] = [
            {"configMapRef": {"name": "settings"}}
        ]
    else:
        scaled["Deployment"]["spec"]["template"]["spec"]["containers"][0]["env"].append(
            {
                "name": "GRID_ASYNC_TASK_IDLE_TIMEOUT",
                "valueFrom": {"configMapKeyRef": {"name": "settings", "key": "GRID_ASYNC_TASK_IDLE_TIMEOUT"}},
            }
        )
    assert scaled.broken == ["idle-exit"]


def test_a_deployment_in_another_namespace_is_another_one(scaled: Files) -> None:
    scaled.set(IDLE_TIMEOUT="60")
    scaled.scaler["minReplicaCount"] = 1
    scaled["Deployment"]["metadata"]["namespace"] = "here"
    scaled["ScaledObject"]["metadata"]["namespace"] = "there"
    assert scaled.broken == ["idle-exit"]


def test_the_worker_is_found_beside_other_containers(job: Files) -> None:
    job.pod["containers"].insert(0, {"name": "proxy"})
    assert job.broken == []


# -- files of any shape -----------------------------------------------------------------------------------------


def test_lists_are_opened(job: Files) -> None:
    del job.scaler["rollout"]
    job.documents = [{"kind": "List", "items": job.documents}]
    assert job.broken == ["rollout"]


@pytest.mark.parametrize("text", ["a: [", "{{ .Values.x }}: 1\n- a", "\x00", "a: 2024-99-99", "? [" * 3000])
def test_what_is_no_yaml_is_refused_with_its_place(text: str) -> None:
    with pytest.raises(NotManifests, match=r"^bad\.yaml.*: not YAML: "):
        keda.read_manifests("bad.yaml", text)


nonsense = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.sampled_from(["", "x", "1", "rabbitmq"])),
    lambda inner: st.one_of(st.lists(inner, max_size=2), st.dictionaries(st.sampled_from(["a", "env"]), inner)),
    max_leaves=4,
)


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every spot of a document at which something else could stand."""
    if isinstance(value, dict | list):
        for key in value if isinstance(value, dict) else range(len(value)):
            yield value, key
            yield from places(value[key])


@given(st.data())
def test_any_shape_is_looked_at_without_a_crash(data: st.DataObject) -> None:
    documents = Files(GOOD_JOB + "---" + GOOD_OBJECT).documents
    place, key = data.draw(st.sampled_from(list(places(documents))))
    place[key] = data.draw(nonsense)
    keda.lint(keda.read_manifests("any.yaml", yaml.safe_dump_all(documents)))


# -- the rules themselves -----------------------------------------------------------------------------------------


def test_every_rule_is_in_use_and_gives_its_reason_and_source() -> None:
    folder = Path(sys.modules[RULES[0].__module__].__file__ or "").parent
    used = {sys.modules[rule.__module__] for rule in RULES}
    assert {file.stem for file in folder.glob("*.py")} - {"__init__"} == {
        module.__name__.rsplit(".", 1)[1] for module in used
    }
    for module in used:
        assert "Source: http" in (module.__doc__ or "").replace("\n", " ")
        assert len((module.__doc__ or "").split()) > 20
