"""The log file: which one, how big, how old, and what happens when it can't be written."""

from __future__ import annotations

import logging
import os
import resource
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timezone, tzinfo
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from grid_async_task.domain.errors import TimeoutError
from grid_async_task.logs import daily_file
from grid_async_task.logs.daily_file import DailyFile

DAY_S = 86_400.0


class Files:
    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.opened: list[DailyFile] = []

    def open(self, *, max_bytes: int = 10_000, retention_s: float = DAY_S) -> DailyFile:
        file = DailyFile(str(self.directory), max_bytes=max_bytes, retention_s=retention_s)
        self.opened.append(file)
        return file

    @property
    def today(self) -> Path:
        return self.directory / f"task_{datetime.now(timezone.utc):%Y-%m-%d}.log"

    def all(self) -> list[Path]:
        return sorted(self.directory.glob("task_*.log"))

    def lines(self) -> list[str]:
        return sorted(line for path in self.all() for line in path.read_text().splitlines())


@pytest.fixture
def files(tmp_path: Path) -> Iterator[Files]:
    files = Files(tmp_path / "deep" / "logs")
    yield files
    for file in files.opened:
        file.close()


def write(file: DailyFile, text: Any) -> None:
    file.handle(logging.makeLogRecord({"msg": text}))


def test_lines_go_to_the_file_of_the_day_in_a_folder_that_is_made(files: Files) -> None:
    file = files.open()
    write(file, "第一行")
    write(file, "second")
    assert files.today.read_bytes() == "第一行\nsecond\n".encode()


def test_the_folder_is_made_only_when_there_is_a_line(files: Files) -> None:
    files.open()
    assert not files.directory.exists()


def test_a_new_process_goes_on_with_the_file(files: Files) -> None:
    write(files.open(), "one")
    write(files.open(), "two")
    assert files.lines() == ["one", "two"]


def test_the_folder_stays_the_same_when_a_handler_changes_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "elsewhere").mkdir()
    file = DailyFile("logs", max_bytes=1000, retention_s=DAY_S)
    monkeypatch.chdir(tmp_path / "elsewhere")
    write(file, "here")
    file.close()
    assert Files(tmp_path / "logs").lines() == ["here"]


def test_a_working_directory_that_was_deleted_is_one_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    file = DailyFile("logs", max_bytes=1000, retention_s=DAY_S)
    with capture_logs() as warnings:
        write(file, "lost")
        write(file, "lost")
    assert [line["error"] for line in warnings] == ["No such file or directory"]


def test_a_file_that_would_grow_too_big_is_put_aside(files: Files) -> None:
    file = files.open(max_bytes=100)
    for number in range(25):
        write(file, f"line {number:04}")  # 10 bytes with its end
    assert [path.stat().st_size for path in files.all()] == [100, 100, 50]
    assert files.today.read_text().splitlines() == [f"line {number:04}" for number in range(20, 25)]
    assert files.lines() == [f"line {number:04}" for number in range(25)]


def test_a_line_that_is_bigger_than_a_file_may_be_has_one_for_itself(files: Files) -> None:
    file = files.open(max_bytes=100)
    for text in ("small", "b" * 500, "last"):
        write(file, text)
    assert files.lines() == ["b" * 500, "last", "small"]
    assert len(files.all()) == 3


def test_what_another_process_puts_aside_is_noticed(files: Files) -> None:
    one, other = files.open(max_bytes=100), files.open(max_bytes=100)
    write(one, "a" * 60)
    write(other, "b" * 60)
    write(one, "c" * 10)
    assert files.today.read_text().splitlines() == ["b" * 60, "c" * 10]


def test_old_files_are_deleted_and_nothing_else(files: Files) -> None:
    files.directory.mkdir(parents=True)
    names = {
        "task_2020-01-01.log": 31,
        "task_2020-01-01.120000000000-abc123.log": 31,
        "task_2020-01-02.log": 29,
        "task_notes.log": 99,
        "other.log": 99,
    }
    for name, days in names.items():
        (files.directory / name).write_text("x\n")
        os.utime(files.directory / name, (0, time.time() - days * DAY_S))
    write(files.open(retention_s=30 * DAY_S), "new")
    left = {path.name for path in files.directory.iterdir()}
    assert left == {"task_2020-01-02.log", "task_notes.log", "other.log", files.today.name}


def test_todays_file_is_kept_however_short_the_retention(files: Files) -> None:
    write(files.open(), "one")
    os.utime(files.today, (0, time.time() - 100))
    write(files.open(retention_s=1), "two")
    assert files.lines() == ["one", "two"]


def test_a_deleted_folder_is_made_again(files: Files) -> None:
    file = files.open()
    write(file, "lost with its folder")
    shutil.rmtree(files.directory)
    with capture_logs() as warnings:
        write(file, "kept")
    assert files.lines() == ["kept"]
    assert warnings == []


def test_an_unwritable_folder_is_one_warning(files: Files, tmp_path: Path) -> None:
    (tmp_path / "deep").write_text("no folder")
    file = files.open()
    with capture_logs() as warnings:
        for _ in range(3):
            write(file, "lost")
    assert [(line["log_level"], line["directory"], line["error"]) for line in warnings] == [
        ("warning", str(files.directory), "Not a directory")
    ]


def test_it_is_written_again_once_it_can_be(files: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(daily_file, "TRY_AGAIN_AFTER_S", 0.0)
    (tmp_path / "deep").write_text("no folder")
    file = files.open()
    with capture_logs() as lines:
        write(file, "lost")
        write(file, "lost")
        (tmp_path / "deep").unlink()
        write(file, "kept")
        write(file, "kept too")
    assert files.lines() == ["kept", "kept too"]
    assert [line["log_level"] for line in lines] == ["warning", "info"]


def test_a_full_disk_is_one_warning(files: Files) -> None:
    files.directory.mkdir(parents=True)
    files.today.symlink_to("/dev/full")
    file = files.open()
    with capture_logs() as warnings:
        for _ in range(3):
            write(file, "lost")
    assert [line["error"] for line in warnings] == ["No space left on device"]


def test_a_time_limit_that_strikes_while_a_line_is_written_is_not_swallowed(files: Files) -> None:
    class TakesTooLong:
        def __str__(self) -> str:
            raise TimeoutError("the attempt took longer than its limit")

    with capture_logs() as warnings, pytest.raises(TimeoutError):
        write(files.open(), TakesTooLong())
    assert warnings == []


def test_a_closed_file_leaves_no_descriptor_open(files: Files) -> None:
    before = set(os.listdir("/proc/self/fd"))
    file = files.open()
    write(file, "x")
    assert set(os.listdir("/proc/self/fd")) != before
    file.close()
    assert set(os.listdir("/proc/self/fd")) == before


def test_a_new_day_has_a_new_file(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    class LateEvening(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]
            return datetime(2026, 1, 31, 23, 59, 59, tzinfo=tz)

    class AfterMidnight(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]
            return datetime(2026, 2, 1, tzinfo=tz)

    file = files.open()
    monkeypatch.setattr(daily_file, "datetime", LateEvening)
    write(file, "today")
    monkeypatch.setattr(daily_file, "datetime", AfterMidnight)
    write(file, "tomorrow")
    assert {path.name: path.read_text() for path in files.all()} == {
        "task_2026-01-31.log": "today\n",
        "task_2026-02-01.log": "tomorrow\n",
    }


def test_half_a_line_does_not_spoil_the_next_one(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(daily_file, "TRY_AGAIN_AFTER_S", 0.0)
    file = files.open()
    write(file, "a" * 59)
    with capture_logs() as lines:
        with files_of_at_most(100):
            write(file, "b" * 59)
        write(file, "c" * 59)
    assert files.today.read_text().splitlines() == ["a" * 59, "b" * 40, "c" * 59]
    assert [line["log_level"] for line in lines] == ["warning", "info"]


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """A disk that is full after so many bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
