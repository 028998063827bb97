"""The Dockerfile's own steps, in folders instead of layers: what the image holds runs as a user without rights.

Here because it fetches all dependencies. No container engine is needed; as root, the worker runs as the image's user.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
#: seconds for a step that fetches packages
STEP_TIMEOUT_S = 300

pytestmark = pytest.mark.timeout(600)


def instructions() -> Iterator[tuple[str, str]]:
    """Joined lines, without comments."""
    text = re.sub(r"^#.*\n", "", (ROOT / "Dockerfile").read_text(encoding="utf-8"), flags=re.MULTILINE)
    for line in re.sub(r"\\\n\s*", "", text).splitlines():
        if line.strip():
            name, _, rest = line.partition(" ")
            yield name, rest.strip()


class Image:
    """The steps, each done where the image's folders are laid out below `root`."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.directory = root
        self.variables = {"PATH": os.environ["PATH"], "HOME": str(root), "LANG": "C.UTF-8"}
        self.user = ""
        self.command = ""

    def build(self) -> None:
        for name, rest in instructions():
            match name:
                case "WORKDIR":
                    self.directory = Path(self._here(rest))
                    self.directory.mkdir(parents=True, exist_ok=True)
                case "ENV":
                    for setting in rest.split():
                        variable, _, value = setting.partition("=")
                        self.variables[variable] = self._here(value).replace("$PATH", self.variables["PATH"])
                case "COPY" if not rest.startswith("--from"):
                    *sources, target = rest.split()
                    for source in sources:
                        self._copy(ROOT / source, self.directory / target)
                # the second stage's own command makes the user, and a folder
                case "RUN" if "useradd" not in rest:
                    subprocess.run(
                        ["sh", "-euc", self._here(rest)],
                        cwd=self.directory,
                        env=self.variables,
                        check=True,
                        timeout=STEP_TIMEOUT_S,
                    )
                case "USER":
                    self.user = rest
                case "CMD":
                    self.command = rest

    def as_its_user(self) -> dict[str, Any]:
        """How a process becomes it: by root, and where a Python outside root's own folders made the environment."""
        theirs = all(folder.stat().st_mode & 0o001 for folder in Path(sys.base_prefix).resolve().parents)
        if os.geteuid() != 0 or not theirs:
            return {}
        return {"user": int(self.user), "group": int(self.user), "extra_groups": []}

    def _here(self, text: str) -> str:
        return re.sub(r"(?<![\w.])/(opt|src|app)\b", rf"{self.root}/\1", text)

    def _copy(self, source: Path, target: Path) -> None:
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, target)


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Image:
    root = tmp_path_factory.mktemp("image")
    # for the image's user to get there
    for folder in (root, root.parent, root.parent.parent):
        folder.chmod(0o755)
    image = Image(root)
    image.build()
    return image


def test_the_image_s_worker_runs_a_task(image: Image) -> None:
    app = image.root / "app"
    shutil.copy(ROOT / "examples" / "hello" / "hello.py", app)
    as_user = image.as_its_user()
    for name in ("logs", "data"):
        (app / name).mkdir(mode=0o777)
        (app / name).chmod(0o777)
    variables = {
        **image.variables,
        "GRID_ASYNC_TASK_AMQP_URL": f"sqlite:///{app}/data/tasks.db",
        "GRID_ASYNC_TASK_MYSQL_URL": f"sqlite:///{app}/data/tasks.db",
        "GRID_ASYNC_TASK_QUEUE": "task_queue",
        "GRID_ASYNC_TASK_HANDLER": "hello:Hello",
        "GRID_ASYNC_TASK_IDLE_TIMEOUT": "1",
        "GRID_ASYNC_TASK_RECURRING": f"{app}/recurring.yaml",
    }
    often = "{schedule: '* * * * *', time_zone: Asia/Shanghai, queue: task_queue, task: {data: {name: World}}}"
    (app / "recurring.yaml").write_text(f"often: {often}", encoding="utf-8")

    def run(*command: str) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            command, cwd=app, env=variables, capture_output=True, text=True, timeout=60, check=False, **as_user
        )
        assert done.returncode == 0, done.stderr
        return done

    assert run("grid-async-task", "migrate").stdout
    # recurring tasks can be read, with their time zones
    assert "1 messages published" in run("grid-async-task", "sweep").stdout
    task_id = run("grid-async-task", "send", "--data", '{"name": "World"}').stdout.strip()
    command = re.findall(r'"([^"]+)"', image.command)
    assert command[0] == "python"
    assert "task succeeded" in run(*command).stderr
    assert '"success"' in run("grid-async-task", "status", "--json", task_id).stdout
    assert list((app / "logs").glob("task_*.log"))


def test_the_image_holds_what_runs_and_no_more(image: Image) -> None:
    python = image.root / "opt" / "venv" / "bin" / "python"
    listed = subprocess.run(
        [python, "-m", "pip", "list", "--format=freeze"],
        env=image.variables,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.lower()
    assert "grid-async-task==" in listed.replace("_", "-")
    assert {name for name in ("pytest", "hypothesis", "mypy", "ruff") if f"\n{name}==" in f"\n{listed}"} == set()
    assert not (image.root / "app" / "tests").exists()
    assert (
        sys.prefix
        not in subprocess.run(
            [python, "-c", "import grid_async_task; print(grid_async_task.__file__)"],
            cwd="/",
            env=image.variables,
            capture_output=True,
            text=True,
            check=True,
        ).stdout
    )
