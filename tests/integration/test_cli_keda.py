"""`keda render` and `keda lint` as a person calls them; what they print is valid for Kubernetes and for KEDA."""

from __future__ import annotations

import io
import json
from pathlib import Path

import kubernetes_validate
import pytest
import yaml

from grid_async_task.cli.program import run
from tests.kubernetes.manifests import manifests, validate

BAD = """
apiVersion: keda.sh/v1alpha1
kind: ScaledJob
metadata:
  name: reports
spec:
  jobTargetRef:
    template:
      spec:
        containers:
          - name: worker
            image: reports:1
            env: [{name: GRID_ASYNC_TASK_QUEUE, value: reports}]
  triggers:
    - type: rabbitmq
      metadata:
        host: amqp://guest:hunter2@rabbitmq:5672/
        queueName: reports
        queueLength: "1"
"""


@pytest.fixture(autouse=True)
def _an_installation(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GRID_ASYNC_TASK_QUEUE", "reports")
    monkeypatch.setenv("GRID_ASYNC_TASK_AMQP_URL", "amqp://guest:hunter2@rabbitmq:5672/")


def render(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert run(["keda", "render", *arguments]) == 0
    return capsys.readouterr().out


@pytest.mark.parametrize("mode", ["scaledjob", "scaledobject"])
def test_what_render_prints_is_valid_and_passes_lint(
    mode: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    text = render(capsys, "--mode", mode, "--namespace", "jobs")
    for document in manifests(text):
        validate(document)
    (tmp_path / "keda.yaml").write_text(text, encoding="utf-8")
    assert run(["keda", "lint", "keda.yaml"]) == 0
    monkeypatch.setattr("sys.stdin", io.StringIO(text))
    assert run(["keda", "lint", "-"]) == 0


def test_the_validators_refuse_what_is_wrong(capsys: pytest.CaptureFixture[str]) -> None:
    documents = {each["kind"]: each for each in yaml.safe_load_all(render(capsys, "--mode", "scaledjob"))}
    documents["Job"]["spec"]["backOffLimit"] = 6
    with pytest.raises(kubernetes_validate.ValidationError):
        validate(documents["Job"])
    documents["ScaledJob"]["spec"]["scalingstrategy"] = {}
    with pytest.raises(AssertionError):
        validate(documents["ScaledJob"])
    del documents["ScaledJob"]["spec"]["scalingstrategy"]
    documents["ScaledJob"]["spec"]["jobTargetRef"]["template"]["spec"]["containers"][0]["volumemounts"] = []
    with pytest.raises(kubernetes_validate.ValidationError):
        validate(documents["ScaledJob"])


def test_render_takes_names(capsys: pytest.CaptureFixture[str]) -> None:
    names = ["--name", "r", "--image", "i:1", "--secret", "s", "--max-workers", "3", "--queue", "other"]
    text = render(capsys, "--mode", "scaledjob", *names)
    scaled_job = list(yaml.safe_load_all(text))[-1]
    assert scaled_job["metadata"]["name"] == "r"
    assert scaled_job["spec"]["maxReplicaCount"] == 3
    assert scaled_job["spec"]["triggers"][0]["metadata"]["queueName"] == "other"
    assert "hunter2" not in text


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--mode", "deployment"], "has to be scaledjob or scaledobject"),
        (["--mode", "scaledjob", "--name", "My_Name"], "--name is 'My_Name'"),
        ([], "--mode"),
    ],
)
def test_render_refuses(arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["keda", "render", *arguments]) == 2
    assert said in capsys.readouterr().err


def test_render_prints_the_file_of_recurring_tasks_and_refuses_a_wrong_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GRID_ASYNC_TASK_RECURRING", "recurring.yaml")
    (tmp_path / "recurring.yaml").write_text("often: {schedule: '* * * * *', queue: reports}\n", encoding="utf-8")
    printed = {each["kind"]: each for each in manifests(render(capsys, "--mode", "scaledjob"))}
    assert "often" in printed["ConfigMap"]["data"]["recurring.yaml"]
    (tmp_path / "recurring.yaml").write_text("often: {schedule: soon, queue: reports}\n", encoding="utf-8")
    assert run(["keda", "render", "--mode", "scaledjob"]) == 2
    refused = capsys.readouterr()
    assert refused.out == ""
    assert "'often': schedule 'soon' is no crontab line" in refused.err


def test_lint_names_each_mistake_with_advice_and_exits_with_1(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "bad.yaml").write_text(BAD, encoding="utf-8")
    assert run(["keda", "lint", "bad.yaml"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == ("bad.yaml: ScaledJob/reports: the trigger has queueLength, which is deprecated [queue-length]")
    assert lines[1] == '  -> write mode: QueueLength and value: "1"'
    assert lines[-1] == "6 mistakes in 1 objects"
    assert run(["keda", "lint", "--json", "bad.yaml"]) == 1
    printed = capsys.readouterr().out
    assert [finding["rule"] for finding in json.loads(printed)] == [
        "queue-length",
        "job-protocol",
        "rollout",
        "grace-period",
        "idle-exit",
        "credentials",
    ]
    assert "hunter2" not in printed


@pytest.mark.parametrize(
    ("content", "said"),
    [(b"a: [", "not YAML"), (b"\xff\xfe", "not UTF-8"), (None, "can't be read: No such file or directory")],
)
def test_lint_says_which_file_it_can_not_read(
    content: bytes | None, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if content is not None:
        (tmp_path / "broken.yaml").write_bytes(content)
    assert run(["keda", "lint", "broken.yaml"]) == 2
    errors = capsys.readouterr().err
    assert "broken.yaml" in errors
    assert said in errors


def test_lint_of_nothing_is_no_mistake(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty.yaml").write_text("# nothing\n---\n", encoding="utf-8")
    assert run(["keda", "lint", "--json", "empty.yaml"]) == 0
    assert json.loads(capsys.readouterr().out) == []
