"""The wheel, installed where there is no checkout: it migrates, sends and runs a task."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.servers.rabbitmq import new_queue_name

CHECKOUT = Path(__file__).parents[2]
#: what a build reads
SOURCES = ("grid_async_task", "alembic", "pyproject.toml", "README.md", "LICENSE")

MIGRATE = """
import json, sys
import grid_async_task
from grid_async_task import Settings, adapter_choice, bootstrap

table = adapter_choice.open_repository(Settings(mysql_url=sys.argv[1]))
table.prepare()
table.close()
# again, as the next pod does it
adapter_choice.open_repository(Settings(mysql_url=sys.argv[1])).prepare()
print(json.dumps({"package": grid_async_task.__file__, "version": grid_async_task.__version__}))
"""

RUN_A_TASK = """
import json
from grid_async_task import TaskClient, TaskHandler, TaskProcessor, TaskProducer

class Doubling(TaskHandler):
    def execute(self, task_data):
        return {"doubled": task_data["number"] * 2}

with TaskProducer() as producer:
    task_id = producer.send_task({"data": {"number": 21}})
TaskProcessor(handler=Doubling(), idle_timeout=1).start()
print(json.dumps(TaskClient().get_task(task_id).to_dict()))
"""


@dataclass(frozen=True)
class Installation:
    wheel: Path
    python: Path
    #: neither the checkout nor anything above or below it
    directory: Path

    def run(self, *arguments: str, **settings: str) -> str:
        """Run its Python in its directory, with these settings and nothing that leads to the checkout."""
        own = {name: value for name, value in os.environ.items() if not name.startswith(("GRID_ASYNC_TASK_", "PYTHON"))}
        done = subprocess.run(
            [str(self.python), "-W", "error", *arguments],
            cwd=self.directory,
            env={**own, **{f"GRID_ASYNC_TASK_{name}": value for name, value in settings.items()}},
            capture_output=True,
            text=True,
            timeout=100,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout.strip()


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Installation:
    copy, directory = tmp_path_factory.mktemp("copy"), tmp_path_factory.mktemp("installed")
    for name in SOURCES:
        source = CHECKOUT / name
        if source.is_dir():
            shutil.copytree(source, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, copy / name)
    with_what_is_here = ["--no-isolation"] if importlib.util.find_spec("hatchling") else []
    _run(sys.executable, "-m", "build", "--wheel", *with_what_is_here, "--outdir", str(copy / "dist"), str(copy))
    (wheel,) = (copy / "dist").glob("*.whl")
    _run(sys.executable, "-m", "venv", str(directory / "venv"))
    python = directory / "venv" / "bin" / "python"
    _run(str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-compile", str(wheel))
    return Installation(wheel, python, directory)


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr


pytestmark = pytest.mark.timeout(400)  # an installation on a slow network


def test_the_wheel_holds_all_that_a_worker_needs(installed: Installation) -> None:
    assert installed.wheel.name == "grid_async_task-2.0.0-py3-none-any.whl"
    names = set(zipfile.ZipFile(installed.wheel).namelist())
    migrations = {
        f"grid_async_task/_alembic/versions/{path.name}" for path in (CHECKOUT / "alembic/versions").glob("*.py")
    }
    wanted = {
        "grid_async_task/py.typed",
        "grid_async_task/_alembic/env.py",
        *migrations,
        *(path.relative_to(CHECKOUT).as_posix() for path in (CHECKOUT / "grid_async_task").rglob("*.py")),
    }
    assert wanted - names == set()
    # the library of the same name would be hidden
    assert "grid_async_task/_alembic/__init__.py" not in names
    assert {name.split("/")[0] for name in names} == {"grid_async_task", "grid_async_task-2.0.0.dist-info"}


@pytest.mark.parametrize("kind", ["mariadb", "sqlite"])
def test_an_installed_package_migrates(installed: Installation, kind: str, request: pytest.FixtureRequest) -> None:
    url = (
        request.getfixturevalue("mysql_url")
        if kind == "mariadb"
        else f"sqlite:///{request.getfixturevalue('tmp_path')}/tasks.db"
    )
    said = json.loads(installed.run("-c", MIGRATE, url).splitlines()[-1])
    package = Path(said["package"])
    assert package.is_relative_to(installed.directory)
    assert (package.parent / "_alembic").is_dir()
    assert (package.parent / "py.typed").is_file()
    assert said["version"] == "2.0.0"
    count = "import sys\nfrom grid_async_task import TaskClient\nprint(TaskClient().count_by_status()['pending'])"
    assert installed.run("-c", count, MYSQL_URL=url) == "0"


def test_an_installed_package_runs_a_task(installed: Installation, amqp_url: str, mysql_url: str) -> None:
    said = installed.run("-c", RUN_A_TASK, AMQP_URL=amqp_url, MYSQL_URL=mysql_url, QUEUE=new_queue_name())
    task = json.loads(said.splitlines()[-1])
    assert (task["status"], task["result"]) == ("success", {"doubled": 42})


def test_an_installed_package_runs_a_task_without_servers(installed: Installation, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/tasks.db"
    said = installed.run("-c", RUN_A_TASK, AMQP_URL=url, MYSQL_URL=url, QUEUE="q")
    assert json.loads(said.splitlines()[-1])["result"] == {"doubled": 42}
