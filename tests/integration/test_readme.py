"""Every code block of the README is run, or compared with what the code really does."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

import pytest

from grid_async_task.domain.callback import callback_of
from grid_async_task.domain.message import TaskMessage
from grid_async_task.domain.message_parsing import parse_message
from grid_async_task.domain.outcome import Succeeded
from grid_async_task.domain.task import Task, TaskStatus

ROOT = Path(__file__).parents[2]
ENGLISH, CHINESE = ROOT / "README.md", ROOT / "README.zh-CN.md"

_BLOCK = re.compile(r"(?:<!-- (?P<mark>[^>]+) -->\n)?```(?P<language>\w+)\n(?P<text>.*?)```", re.DOTALL)

#: blocks without a mark, and the test that stands for them
ELSEWHERE = {
    "make demo\nmake test\n": "make demo is run by test_demo.py, make test is what runs this",
}


@dataclass(frozen=True)
class Block:
    mark: str
    language: str
    text: str


def blocks(readme: Path = ENGLISH) -> list[Block]:
    return [
        Block(found["mark"] or "", found["language"], found["text"])
        for found in _BLOCK.finditer(readme.read_text(encoding="utf-8"))
    ]


def marked(mark: str) -> str:
    (block,) = [block for block in blocks() if block.mark == mark]
    return block.text


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """A fresh user's folder, with the program on the path and nothing configured."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("GRID_")}
    return {**kept, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}


def write_files(folder: Path) -> None:
    for block in blocks():
        if block.mark.startswith("file: "):
            (folder / block.mark.removeprefix("file: ")).write_text(block.text, encoding="utf-8")


def test_every_block_is_covered() -> None:
    known = ("file: ", "run", "message", "callback", "python")
    for block in blocks():
        if block.language == "mermaid" or block.text in ELSEWHERE:
            continue
        assert block.mark.startswith(known), f"nothing runs this block:\n{block.text}"


def test_the_quick_start_runs(tmp_path: Path, environment: dict[str, str]) -> None:
    write_files(tmp_path)
    output = ""
    for block in blocks():
        if block.mark == "run":
            done = subprocess.run(
                ["sh", "-e", "-c", block.text],
                cwd=tmp_path,
                env=environment,
                capture_output=True,
                text=True,
                timeout=90,
            )
            assert done.returncode == 0, done.stdout + done.stderr
            output += done.stdout
    assert "report-1" in output
    assert "success" in output
    assert "page 3 of 3" in output


def test_the_python_blocks_run(tmp_path: Path, environment: dict[str, str]) -> None:
    write_files(tmp_path)
    for block in blocks():
        if block.mark == "python":
            done = subprocess.run(
                [sys.executable, "-c", block.text],
                cwd=tmp_path,
                env=environment,
                capture_output=True,
                text=True,
                timeout=60,
            )
            assert done.returncode == 0, f"{block.text}\n{done.stdout}{done.stderr}"


def test_the_message_is_valid_and_gives_the_callback_that_is_shown() -> None:
    message = parse_message(marked("message").encode())
    assert isinstance(message, TaskMessage)
    now = datetime(2024, 1, 15, 10, 30, tzinfo=timezone.utc)
    running = Task.pending(message, "task_queue", now).claimed("worker", now, 60, 0, crashed=False)
    done = running.settled(Succeeded({"pages": 12}), now, None)
    assert done.status is TaskStatus.SUCCESS
    assert json.loads(callback_of(done).body) == json.loads(marked("callback"))


def test_files_that_it_links_exist() -> None:
    for readme in (ENGLISH, CHINESE):
        for target in re.findall(r"\]\((?!http|#)([^)]+)\)", readme.read_text(encoding="utf-8")):
            assert (ROOT / target).exists(), f"{readme.name} links {target}"


def test_the_chinese_readme_keeps_step() -> None:
    without_comments = [(block.mark, block.language, _code(block.text)) for block in blocks(ENGLISH)]
    assert [(block.mark, block.language, _code(block.text)) for block in blocks(CHINESE)] == without_comments
    assert _headings(CHINESE) == _headings(ENGLISH)


def _headings(readme: Path) -> list[str]:
    """Their levels, outside of code blocks."""
    text = _BLOCK.sub("", readme.read_text(encoding="utf-8"))
    return [line.split(" ")[0] for line in text.splitlines() if line.startswith("#")]


def _code(text: str) -> list[str]:
    """Without comments, which are in the reader's language."""
    return [line.split("#")[0].split("  %%")[0].rstrip() for line in text.splitlines() if not line.startswith("#")]
