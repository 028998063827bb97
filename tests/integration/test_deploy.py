"""deploy/: valid for Kubernetes and KEDA, without a known mistake, and the same as what `keda render` prints."""

from __future__ import annotations

import copy
import json
import re
import shutil
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, replace
from datetime import datetime, timezone
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
import yaml
from helm_python import HelmRenderError, HelmValuesError
from helm_python import lint as helm_lint

from grid_async_task import Settings, keda
from grid_async_task.adapters.cron import read_recurring
from grid_async_task.adapters.cron.file import FIELDS
from grid_async_task.cli.program import run
from grid_async_task.settings.model import PREFIX
from tests.kubernetes.manifests import DEPLOY, Manifest, helm_rendered, kustomized, manifests, pod_templates, validate

OVERLAYS = DEPLOY / "kustomize" / "overlays"
CHART = DEPLOY / "helm" / "grid-async-task"
SHORT = {"mode": "short-tasks", "taskTimeout": 60}
#: what nobody has to put into the Secret
OPTIONAL_KEYS = {"callback-secret", "feishu-webhook-url", "feishu-secret"}
NIGHTLY = {"schedule": "30 2 * * 1-5", "queue": "reports"}
AMQP_URL, MYSQL_URL = "amqp://user:password@rabbitmq/", "mysql://user:password@mysql/tasks"


@dataclass(frozen=True)
class Deployed:
    """All objects of one way to deploy."""

    text: str

    @cached_property
    def documents(self) -> list[Manifest]:
        return manifests(self.text)

    def __getitem__(self, kind: str) -> Manifest:
        (found,) = self.of_kind(kind)
        return found

    def of_kind(self, *kinds: str) -> list[Manifest]:
        return [each for each in self.documents if each["kind"] in kinds]

    @cached_property
    def templates(self) -> dict[str, Manifest]:
        """Of all pods, by component."""
        return {
            template["metadata"]["labels"]["app.kubernetes.io/component"]: template
            for document in self.documents
            for template in pod_templates(document)
        }

    @property
    def worker(self) -> Manifest:
        spec: Manifest = self.templates["worker"]["spec"]
        return spec

    @property
    def shared(self) -> dict[str, str]:
        """The variables that all pods have from a ConfigMap, if there is one."""
        (container,) = self.worker["containers"]
        sources = [each["configMapRef"]["name"] for each in container.get("envFrom", [])]
        return {name: text for source in sources for name, text in self.config_map(source).items()}

    def config_map(self, name: str) -> dict[str, str]:
        (data,) = [each["data"] for each in self.of_kind("ConfigMap") if each["metadata"]["name"] == name]
        return dict(data)

    @property
    def settings(self) -> Settings:
        return settings_of(self.shared)


def settings_of(variables: dict[str, str]) -> Settings:
    return Settings.from_environment(variables, start_directory="/", amqp_url=AMQP_URL, mysql_url=MYSQL_URL)


WAYS = {
    "kustomize, long tasks": lambda: kustomized(OVERLAYS / "long-tasks"),
    "kustomize, short tasks": lambda: kustomized(OVERLAYS / "short-tasks"),
    "helm, long tasks": lambda: helm_rendered({}),
    "helm, short tasks": lambda: helm_rendered(SHORT),
}


@pytest.fixture(params=WAYS, scope="module")
def deployed(request: pytest.FixtureRequest) -> Deployed:
    return Deployed(WAYS[request.param]())


# -- valid, and without known mistakes ------------------------------------------------------------------


def test_everything_is_there_and_valid(deployed: Deployed) -> None:
    kinds = {each["kind"] for each in deployed.documents}
    scaled = {"ScaledJob"} if "ScaledJob" in kinds else {"Deployment", "ScaledObject"}
    always = {"ConfigMap", "CronJob", "Job", "NetworkPolicy", "PodDisruptionBudget", "TriggerAuthentication"}
    assert kinds == always | scaled
    assert set(deployed.templates) == {"migrate", "prune", "sweep", "worker"}
    for document in deployed.documents:
        validate(document)


def test_lint_finds_nothing(deployed: Deployed, tmp_path: Path) -> None:
    (tmp_path / "all.yaml").write_text(deployed.text, encoding="utf-8")
    assert run(["keda", "lint", str(tmp_path / "all.yaml")]) == 0
    # it did look: a mistake is found
    (tmp_path / "all.yaml").write_text(deployed.text.replace("IDLE_TIMEOUT", "SLEEPY"), encoding="utf-8")
    has_jobs = "ScaledJob" in deployed.text
    assert run(["keda", "lint", str(tmp_path / "all.yaml")]) == int(has_jobs)


def test_lint_finds_nothing_in_the_files_as_they_are() -> None:
    files = sorted(map(str, (DEPLOY / "kustomize").rglob("*.yaml")))
    assert len(files) > 10
    assert run(["keda", "lint", *files]) == 0


def test_helm_s_own_lint_finds_nothing() -> None:
    report = helm_lint(CHART, strict=True)
    assert (report["total_charts_linted"], report["errors"]) == (1, [])
    assert [message for message in report["messages"] if message["severity"] > 1] == []


# -- the same as keda render ------------------------------------------------------------------------------


TARGET = keda.Target("grid-async-task", "grid-async-task:latest", None, "grid-async-task", 10)


def test_it_is_what_render_prints_for_these_settings(deployed: Deployed) -> None:
    rendered = Deployed(keda.render(deployed.settings, mode_of(deployed), TARGET))
    assert comparable(deployed, rendered) == comparable(rendered, rendered)


def mode_of(deployed: Deployed) -> keda.Mode:
    return keda.Mode.SCALED_JOB if deployed.of_kind("ScaledJob") else keda.Mode.SCALED_OBJECT


def comparable(these: Deployed, rendered: Deployed) -> dict[tuple[str, str], Manifest]:
    """By kind and name, as far as both have them. Variables as the settings that they make."""
    documents = copy.deepcopy(these.documents)
    for document in documents:
        document["metadata"]["name"] = re.sub(r"-\d+$", "", document["metadata"]["name"])  # Helm's revision
        for template in pod_templates(document):
            template["metadata"].pop("annotations", None)
            for container in template["spec"]["containers"]:
                container.pop("envFrom", None)
                container["env"] = resolved(these.shared, container["env"])
    wanted = {(each["kind"], each["metadata"]["name"]) for each in rendered.documents}
    named = {(each["kind"], each["metadata"]["name"]): each for each in documents}
    return {name: document for name, document in named.items() if name in wanted}


def resolved(shared: dict[str, str], env: list[dict[str, Any]]) -> tuple[Settings, dict[str, Any]]:
    secrets = {each["name"]: each["valueFrom"]["secretKeyRef"] for each in env if "valueFrom" in each}
    plain = {each["name"]: each["value"] for each in env if "value" in each}
    needed = {name: reference for name, reference in secrets.items() if reference["key"] not in OPTIONAL_KEYS}
    return settings_of(shared | plain), needed


# -- what the pods may do ---------------------------------------------------------------------------------


def test_no_pod_has_more_rights_than_it_needs(deployed: Deployed) -> None:
    for template in deployed.templates.values():
        spec = template["spec"]
        assert spec["securityContext"] == {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
        assert spec["automountServiceAccountToken"] is False
        (container,) = spec["containers"]
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert container["resources"]["limits"]["memory"]
        assert set(container["resources"]["requests"]) == {"cpu", "memory"}
        writable = {volume["name"] for volume in spec["volumes"] if "emptyDir" in volume}
        assert {mount["mountPath"] for mount in container["volumeMounts"] if mount["name"] in writable} == {
            "/app/logs",
            "/tmp",
        }


def test_the_grace_period_follows_shutdown_grace(deployed: Deployed) -> None:
    assert deployed.worker["terminationGracePeriodSeconds"] == deployed.settings.shutdown_grace + 15


def test_a_change_of_the_settings_changes_the_pods() -> None:
    def pods(text: str) -> list[Manifest]:
        return [template for document in manifests(text) for template in pod_templates(document)]

    for one, other in zip(pods(helm_rendered({})), pods(helm_rendered({"retryDelay": 61})), strict=True):
        assert one != other


def test_secrets_come_from_keys_that_the_example_shows(deployed: Deployed) -> None:
    example = yaml.safe_load((DEPLOY / "kustomize" / "secret.example.yaml").read_text(encoding="utf-8"))
    validate(example)
    references = [
        reference
        for document in deployed.documents
        for reference in [*secret_references(document)]
        if reference["name"] == example["metadata"]["name"]
    ]
    assert {reference["key"] for reference in references} <= set(example["stringData"])
    optional = {reference["key"] for reference in references if reference.get("optional")}
    assert optional == {reference["key"] for reference in references} & OPTIONAL_KEYS
    assert not deployed.of_kind("Secret")


def secret_references(part: Any) -> Iterator[dict[str, Any]]:
    if isinstance(part, list):
        for inner in part:
            yield from secret_references(inner)
    elif isinstance(part, dict):
        yield from [part["secretKeyRef"]] if "secretKeyRef" in part else part.get("secretTargetRef", [])
        for inner in part.values():
            yield from secret_references(inner)


def test_only_settings_that_exist_are_set(deployed: Deployed) -> None:
    known = {PREFIX + each.name.upper() for each in fields(Settings)}
    assert set(deployed["ConfigMap"]["data"]) <= known


# -- what goes on beside the workers ------------------------------------------------------------------------


def test_the_commands_are_the_program_s(deployed: Deployed, capsys: pytest.CaptureFixture[str]) -> None:
    commands = [template["spec"]["containers"][0].get("command") for template in deployed.templates.values()]
    assert commands.count(None) == 1  # the worker, which the image runs
    for command in filter(None, commands):
        assert command[0] == "grid-async-task"
        # its options are understood, and nothing is done
        assert run([*command[1:], "--help"]) == 0
    assert run(["prune", "--no-such-option", "--help"]) == 2
    capsys.readouterr()


def test_the_budget_keeps_workers_and_nothing_else(deployed: Deployed) -> None:
    budget = deployed["PodDisruptionBudget"]["spec"]
    chosen = [name for name, template in deployed.templates.items() if selects(budget["selector"], template)]
    assert chosen == ["worker"]
    if deployed.of_kind("ScaledJob"):
        # not one may be evicted, however many there are
        assert budget["minAvailable"] == deployed["ScaledJob"]["spec"]["maxReplicaCount"]
    else:
        assert budget["maxUnavailable"] == 1


def test_the_network_policy_is_for_all_pods_and_keeps_them_from_metadata_services(deployed: Deployed) -> None:
    policy = deployed["NetworkPolicy"]["spec"]
    assert all(
        selects({"matchLabels": policy["podSelector"]["matchLabels"]}, each) for each in deployed.templates.values()
    )
    assert policy["policyTypes"] == ["Ingress", "Egress"]
    assert policy["ingress"] == []
    names, servers = policy["egress"]
    assert {each["port"] for each in names["ports"]} == {53}
    assert {each["port"] for each in servers["ports"]} == {5672, 5671, 3306, 80, 443}
    (v4,) = [each["ipBlock"] for each in servers["to"] if each.get("ipBlock", {}).get("cidr") == "0.0.0.0/0"]
    assert v4["except"] == ["169.254.0.0/16"]


def selects(selector: dict[str, Any], template: Manifest) -> bool:
    return bool(selector["matchLabels"].items() <= template["metadata"]["labels"].items())


# -- what can be changed --------------------------------------------------------------------------------------


def test_helm_values_reach_all_places() -> None:
    changed = Deployed(
        helm_rendered(
            {
                **SHORT,
                "queue": "报表 #1: yes",
                "maxWorkers": 3,
                "taskTimeout": 500,
                "retryDelay": 900,
                "secret": {"name": "elsewhere"},
                "recurring": {"nightly": NIGHTLY},
                "settings": {"CALLBACK_USE_PROXY": "true", "LOG_LEVEL": "DEBUG", "PREFETCH_COUNT": "5"},
                "networkPolicy": {"enabled": False},
                "podDisruptionBudget": {"enabled": False},
            },
            name="a-release-with-a-name-that-is-too-long-for-kubernetes",
            revision=12,
        )
    )
    assert changed.of_kind("NetworkPolicy", "PodDisruptionBudget") == []
    for document in changed.documents:
        validate(document)
        assert len(document["metadata"]["name"]) <= 52
    assert keda.lint(keda.read_manifests("all.yaml", changed.text)) == []
    settings = changed.settings
    assert (settings.queue, settings.task_timeout, settings.shutdown_grace) == ("报表 #1: yes", 500, 500)
    assert (settings.callback_use_proxy, settings.prefetch_count, settings.log_level) == (True, 5, "DEBUG")
    scaled = changed["ScaledObject"]["spec"]
    assert (scaled["maxReplicaCount"], scaled["cooldownPeriod"]) == (3, 900)
    assert {reference["name"] for each in changed.documents for reference in secret_references(each)} == {"elsewhere"}
    assert changed["Job"]["metadata"]["name"].endswith("-migrate-12")
    assert json.loads(file_in_pod(changed, "worker")) == {"nightly": NIGHTLY}


@pytest.mark.parametrize(
    "values",
    [
        {"mode": "deployment"},
        {"settings": {"MYSQL_URL": "mysql://root:password@db/tasks"}},
        {"settings": {"SHUTDOWN_GRACE": "300"}},
        # Helm would write it as 8.388608e+06
        {"settings": {"MESSAGE_MAX_BYTES": 8388608}},
        {"maxWorker": 3},
        {"queue": ""},
        {"prune": {"olderThanDays": 1}},
        {"idleTimeout": 0},
        {"settings": {"RECURRING": "recurring.yaml"}},
        {"recurring": {"nightly": {"queue": "reports"}}},
        {"recurring": {"nightly": NIGHTLY | {"zone": "UTC"}}},
        {"recurring": {"nightly": NIGHTLY | {"task": {"task_id": "nightly"}}}},
        # Helm would make it 2 ** 53
        {"recurring": {"nightly": NIGHTLY | {"task": {"data": {"orders": [{"id": 2**53 + 1}]}}}}},
        {"recurring": {"nightly": NIGHTLY | {"task": {"data": {"orders": [{"id": -(2**53) - 1}]}}}}},
    ],
)
def test_helm_refuses_values_that_would_do_harm(values: dict[str, Any]) -> None:
    with pytest.raises(HelmValuesError):
        helm_rendered(values)


@pytest.mark.parametrize("name", ["taskTimeout", "shutdownGrace"])
def test_helm_refuses_long_tasks_in_a_deployment(name: str) -> None:
    with pytest.raises(HelmRenderError, match="use mode: long-tasks"):
        helm_rendered({**SHORT, name: 601})
    helm_rendered({**SHORT, name: 600})


# -- recurring tasks ------------------------------------------------------------------------------------------

#: with texts and numbers that one writer of YAML leaves bare, and another reader takes for something else
RECURRING = """\
# Monday to Friday
nightly-报表:
  schedule: "30 2 * * 1-5"       # half past two
  time_zone: Asia/Shanghai
  queue: reports
  task:
    task_type: report
    max_retry_count: 2
    data:
      texts: ["=", "12:30", "yes", "1_000", "2024-01-14", "~", "{{ .Values.queue }}", "<&>", "two\\nlines ", "🎉"]
      numbers: [8388608, 9007199254740991, 0.25, -1]
      "<<": {nothing: null, really: false}
often: {schedule: "* * * * *", queue: mails}
"""


def overlay(folder: Path, mode: str, file: str, **more: Any) -> Path:
    """A folder beside `deploy/` with what the docs say about recurring tasks, and nothing else."""
    shutil.copytree(DEPLOY, folder / "deploy")
    here = folder / "reports"
    here.mkdir()
    resources = {"resources": [f"../deploy/kustomize/overlays/{mode}"]}
    addition = yaml.safe_load(shown("add to", "reports/kustomization.yaml"))
    kinds = {"apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization"}
    (here / "kustomization.yaml").write_text(yaml.safe_dump(kinds | resources | addition | more), encoding="utf-8")
    (here / "recurring.yaml").write_text(file, encoding="utf-8")
    return here


def rendered_with(folder: Path, settings: Settings, mode: keda.Mode, file: str) -> str:
    (folder / "given.yaml").write_text(file, encoding="utf-8")
    return keda.render(replace(settings, recurring=str(folder / "given.yaml")), mode, TARGET)


QUEUE = Settings(queue="task_queue")
RECURRING_WAYS: dict[str, Callable[[Path, str], str]] = {
    "kustomize, long tasks": lambda folder, file: kustomized(overlay(folder, "long-tasks", file)),
    "kustomize, short tasks": lambda folder, file: kustomized(overlay(folder, "short-tasks", file)),
    "helm, long tasks": lambda folder, file: helm_rendered({"recurring": yaml.safe_load(file)}),
    "helm, short tasks": lambda folder, file: helm_rendered({**SHORT, "recurring": yaml.safe_load(file)}),
    "render, long tasks": lambda folder, file: rendered_with(folder, QUEUE, keda.Mode.SCALED_JOB, file),
    "render, short tasks": lambda folder, file: rendered_with(folder, QUEUE, keda.Mode.SCALED_OBJECT, file),
}


@pytest.fixture(params=RECURRING_WAYS, scope="module")
def way(request: pytest.FixtureRequest) -> Callable[[Path, str], str]:
    return RECURRING_WAYS[request.param]


@pytest.fixture(scope="module")
def recurring(way: Callable[[Path, str], str], tmp_path_factory: pytest.TempPathFactory) -> Deployed:
    return Deployed(way(tmp_path_factory.mktemp("recurring"), RECURRING))


def test_workers_and_the_sweep_read_the_recurring_tasks_that_were_given(recurring: Deployed, tmp_path: Path) -> None:
    for component in ("worker", "sweep"):
        assert as_read(file_in_pod(recurring, component), tmp_path) == as_read(RECURRING, tmp_path)


def as_read(file: str, folder: Path) -> list[Any]:
    """What workers take it for."""
    (folder / "read.yaml").write_text(file, encoding="utf-8")
    now = datetime(2024, 1, 15, 10, 30, tzinfo=timezone.utc)
    tasks = read_recurring(str(folder / "read.yaml"))
    return [(task.name, task.queue, task.due_at(now), task.schedule.latest(now)) for task in tasks]


def file_in_pod(deployed: Deployed, component: str) -> str:
    """What lies where the variable of this pod points at."""
    spec = deployed.templates[component]["spec"]
    (container,) = spec["containers"]
    (path,) = [PurePosixPath(each["value"]) for each in container["env"] if each["name"] == PREFIX + "RECURRING"]
    (mount,) = [each for each in container["volumeMounts"] if each["mountPath"] == str(path.parent)]
    assert mount["readOnly"] is True
    (volume,) = [each for each in spec["volumes"] if each["name"] == mount["name"]]
    return deployed.config_map(volume["configMap"]["name"])[path.name]


def test_the_manifests_with_recurring_tasks_are_valid_and_without_mistakes(recurring: Deployed) -> None:
    for document in recurring.documents:
        validate(document)
    assert keda.lint(keda.read_manifests("all.yaml", recurring.text)) == []


def test_only_pods_that_look_for_recurring_tasks_have_the_file(recurring: Deployed) -> None:
    others = {name: each for name, each in recurring.templates.items() if name not in ("worker", "sweep")}
    assert "migrate" in others
    assert "recurring" not in json.dumps(others).lower()


def test_without_recurring_tasks_nothing_of_them_is_there(deployed: Deployed) -> None:
    assert "recurring" not in deployed.text.lower()


def test_a_change_of_the_recurring_tasks_changes_the_pods_that_read_them(
    way: Callable[[Path, str], str], recurring: Deployed, tmp_path: Path
) -> None:
    changed = Deployed(way(tmp_path, RECURRING.replace("queue: mails", "queue: letters")))
    assert {name for name in changed.templates if changed.templates[name] != recurring.templates[name]} == {
        "worker",
        "sweep",
    }
    # a Deployment's selector can't be changed
    for one, other in zip(recurring.of_kind("Deployment"), changed.of_kind("Deployment"), strict=True):
        assert one["spec"]["selector"] == other["spec"]["selector"]


@pytest.mark.parametrize("name", [name for name in RECURRING_WAYS if not name.startswith("render")])
def test_with_recurring_tasks_too_it_is_what_render_prints(name: str, tmp_path: Path) -> None:
    # kustomize adds a hash to the name
    text = re.sub(r"(grid-async-task-recurring)-\w{10}\b", r"\1", RECURRING_WAYS[name](tmp_path, RECURRING))
    made = Deployed(text)
    rendered = Deployed(rendered_with(tmp_path, made.settings, mode_of(made), RECURRING))
    both = [comparable(each, rendered) for each in (made, rendered)]
    for documents in both:
        config_map = documents["ConfigMap", "grid-async-task-recurring"]
        # Helm writes the same in another way, and kustomize no labels on what it generates
        config_map["data"]["recurring.yaml"] = yaml.safe_load(config_map["data"]["recurring.yaml"])
        config_map["metadata"].pop("labels", None)
    assert both[0] == both[1]


@pytest.mark.parametrize("mode", ["long-tasks", "short-tasks"])
def test_the_component_of_recurring_tasks_goes_with_a_prefix_and_with_the_monitoring(mode: str, tmp_path: Path) -> None:
    components = ["../deploy/monitoring", "../deploy/kustomize/recurring"]
    made = Deployed(kustomized(overlay(tmp_path, mode, RECURRING, namePrefix="a-", components=components)))
    for component in ("worker", "sweep"):
        assert file_in_pod(made, component) == RECURRING
    assert "recurring" not in json.dumps(made.templates["exporter"]).lower()


def test_helm_knows_the_fields_of_a_recurring_task() -> None:
    schema = json.loads((CHART / "values.schema.json").read_text(encoding="utf-8"))
    assert set(schema["properties"]["recurring"]["additionalProperties"]["properties"]) == FIELDS


# -- docs/kubernetes.md ---------------------------------------------------------------------------------------


def shown_file(name: str) -> str:
    return shown("file", name)


def shown(what: str, name: str) -> str:
    page = (DEPLOY.parent / "docs" / "kubernetes.md").read_text(encoding="utf-8")
    (text,) = re.findall(rf"<!-- {what}: {re.escape(name)} -->\n```yaml\n(.*?)```", page, re.DOTALL)
    return str(text)


def test_the_overlay_of_the_docs_makes_a_kind_of_worker_of_its_own(tmp_path: Path) -> None:
    shutil.copytree(DEPLOY / "kustomize", tmp_path / "deploy" / "kustomize")
    (tmp_path / "reports").mkdir()
    (tmp_path / "reports" / "kustomization.yaml").write_text(shown_file("reports/kustomization.yaml"), encoding="utf-8")
    reports = Deployed(kustomized(tmp_path / "reports"))
    for document in reports.documents:
        validate(document)
        assert document["metadata"]["name"].startswith("reports-")
        assert document["metadata"]["namespace"] == "jobs"
    # the lint finds the worker's settings by the ConfigMap's new name, and the queues alike
    manifests_read = keda.read_manifests("all.yaml", reports.text)
    assert keda.lint(manifests_read) == []
    assert (reports.settings.queue, reports.settings.task_timeout) == ("reports", 14400)
    mixed_up = reports.text.replace("queueName: reports", "queueName: task_queue")
    assert [each.rule for each in keda.lint(keda.read_manifests("all.yaml", mixed_up))] == ["queue-name"]
    (trigger,) = reports["ScaledJob"]["spec"]["triggers"]
    assert trigger["authenticationRef"]["name"] == reports["TriggerAuthentication"]["metadata"]["name"]
    for template in reports.templates.values():
        assert template["metadata"]["labels"]["app.kubernetes.io/instance"] == "reports"
        assert template["spec"]["containers"][0]["image"] == "registry.example.com/reports:1.4"
    for selector in (
        reports["PodDisruptionBudget"]["spec"]["selector"],
        reports["NetworkPolicy"]["spec"]["podSelector"],
    ):
        assert selector["matchLabels"]["app.kubernetes.io/instance"] == "reports"


def test_a_deployment_of_short_tasks_can_be_renamed_too(tmp_path: Path) -> None:
    shutil.copytree(DEPLOY / "kustomize", tmp_path / "deploy" / "kustomize")
    (tmp_path / "mails").mkdir()
    overlay = yaml.safe_load(shown_file("reports/kustomization.yaml"))
    overlay |= {"resources": ["../deploy/kustomize/overlays/short-tasks"], "namePrefix": "mails-"}
    overlay["patches"][0]["target"]["kind"] = "ScaledObject"
    overlay["configMapGenerator"][0]["literals"] = ["GRID_ASYNC_TASK_QUEUE=reports"]
    (tmp_path / "mails" / "kustomization.yaml").write_text(yaml.safe_dump(overlay), encoding="utf-8")
    mails = Deployed(kustomized(tmp_path / "mails"))
    assert mails["ScaledObject"]["spec"]["scaleTargetRef"]["name"] == mails["Deployment"]["metadata"]["name"]
    assert keda.lint(keda.read_manifests("all.yaml", mails.text)) == []
    assert selects(mails["Deployment"]["spec"]["selector"], mails.templates["worker"])


def test_the_values_of_the_docs_are_helm_s() -> None:
    reports = Deployed(helm_rendered(yaml.safe_load(shown_file("values.yaml")), name="reports"))
    assert keda.lint(keda.read_manifests("all.yaml", reports.text)) == []
    assert (reports.settings.queue, reports.settings.log_level) == ("reports", "DEBUG")


def test_the_docs_show_the_same_recurring_task_in_both_places(tmp_path: Path) -> None:
    values = yaml.safe_load(shown_file("recurring-values.yaml"))
    page = (DEPLOY.parent / "docs" / "enqueue.md").read_text(encoding="utf-8")
    (indented,) = re.findall(r"names a YAML file that all workers have:\n\n((?:    .*\n)+)", page)
    made = Deployed(helm_rendered(values))
    assert as_read(file_in_pod(made, "worker"), tmp_path) == as_read(textwrap.dedent(indented), tmp_path)


def test_the_commands_and_links_of_the_docs_exist(capsys: pytest.CaptureFixture[str]) -> None:
    page = (DEPLOY.parent / "docs" / "kubernetes.md").read_text(encoding="utf-8")
    commands = set(re.findall(r"grid-async-task ((?:keda )?[a-z]+)", page))
    assert {"check", "keda lint", "keda render"} <= commands
    for command in commands:
        assert run([*command.split(), "--help"]) == 0, command
    capsys.readouterr()
    links: list[str] = re.findall(r"\]\(([^)#:]+)\)", page)
    assert len(links) >= 3
    assert [target for target in links if not (DEPLOY.parent / "docs" / target).exists()] == []
