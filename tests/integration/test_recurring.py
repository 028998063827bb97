"""Recurring tasks by the commands, as a CronJob runs them, and by workers, on real servers."""

from __future__ import annotations

import json
from pathlib import Path

from grid_async_task import adapter_choice, bootstrap
from tests.cli_site import Doubling, Site
from tests.servers.rabbitmq import new_queue_name

FILE = """
often:
  schedule: "* * * * *"
  queue: {queue}
  task: {{task_type: report, data: {{number: 21}}}}
"""


def test_the_sweep_of_a_cron_job_sends_what_is_due_and_a_worker_runs_it(
    amqp_url: str, mysql_url: str, tmp_path: Path
) -> None:
    site = Site(tmp_path, amqp_url, mysql_url, new_queue_name(), {"RECURRING": "recurring.yaml"})
    (tmp_path / "recurring.yaml").write_text(FILE.format(queue=site.queue), encoding="utf-8")
    assert site.program("migrate").returncode == 0
    assert json.loads(site.program("sweep", "--json").stdout)["published"] == 1
    # two workers that start now look as well
    settings = site.settings(recurring=str(tmp_path / "recurring.yaml"), idle_timeout=1)
    for _ in range(2):
        bootstrap.create_worker(Doubling(), settings=settings).run()
    tasks = json.loads(site.program("list", "--json").stdout)
    assert {task["status"] for task in tasks} == {"success"}
    assert [task["result"] for task in tasks] == [{"doubled": 42}] * len(tasks)
    assert all(task["task_id"].startswith("often@") for task in tasks)


def test_check_reads_the_file_and_a_worker_refuses_a_wrong_one(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'tasks.db'}"
    site = Site(tmp_path, url, url, "work", {"RECURRING": "recurring.yaml", "HANDLER": "tests.cli_site:Doubling"})
    assert site.program("migrate").returncode == 0
    (tmp_path / "recurring.yaml").write_text(FILE.format(queue="work"), encoding="utf-8")
    good = site.program("check")
    assert (good.returncode, "has 1 recurring tasks" in good.stdout) == (0, True)
    (tmp_path / "recurring.yaml").write_text("often: {schedule: soon, queue: work}", encoding="utf-8")
    assert site.program("check").returncode == 1
    for command in ("worker", "sweep"):
        refused = site.program(command)
        assert refused.returncode == 2
        assert "'often': schedule 'soon' is no crontab line" in refused.stderr
        assert "Traceback" not in refused.stderr
    assert adapter_choice.open_recurring(site.settings()) == []
