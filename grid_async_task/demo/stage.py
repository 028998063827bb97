"""What the story needs around it: a folder, the other side, workers; and that nothing is left of it."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from types import FrameType
from typing import Any, NoReturn

from rich.console import Console

from grid_async_task import Settings, TaskClient, TaskProducer
from grid_async_task.demo.receiver import Receiver
from grid_async_task.demo.scenes import SCENES
from grid_async_task.demo.screen import screen_for
from grid_async_task.demo.story import Story
from grid_async_task.demo.summary import print_summary
from grid_async_task.demo.workers import Workers
from grid_async_task.logs import set_up_logging

WORKERS = 3
#: columns where there is no terminal that has a width of its own
WIDTH = 160
#: exit code of a program that was interrupted
INTERRUPTED = 130
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def run() -> int:
    """Tell the story; 0 if all of it came true. Leaves nothing behind, also when it is interrupted."""
    console = Console() if sys.stdout.isatty() else Console(width=WIDTH)
    with _stopped_by_signals():
        try:
            with TemporaryDirectory(prefix="grid-async-task-demo-") as folder:
                return _perform(console, Path(folder))
        except KeyboardInterrupt:
            console.print("\ninterrupted, and tidied up")
            return INTERRUPTED


def _perform(console: Console, folder: Path) -> int:
    with Receiver() as receiver:
        settings = _settings(folder, receiver)
        mine = Settings(**settings, log_level="ERROR")
        set_up_logging(mine)
        with (
            Workers(folder, settings) as workers,
            TaskProducer(settings=mine) as producer,
            closing(TaskClient(settings=mine)) as client,
        ):
            console.print(f"{len(SCENES)} tasks, {WORKERS} workers, one SQLite file, no servers\n", highlight=False)
            for _ in range(WORKERS):
                workers.start()
            for scene in SCENES:
                producer.send_task({**scene.message, "callback_url": receiver.callback_url}, task_id=scene.task_id)
            with screen_for(console) as screen:
                story = Story(client, workers, receiver, screen)
                story.watch()
        print_summary(console, story.tasks, story.history, receiver)
        wrong = story.what_went_wrong()
        if wrong:
            console.print("\n".join(["", "It did not go as it should:", *wrong, "", workers.log()]), markup=False)
            return 1
    console.print("\nAll of it came true. To see how, begin with grid_async_task/demo/handlers.py", highlight=False)
    return 0


def _settings(folder: Path, receiver: Receiver) -> dict[str, Any]:
    """What everybody here works with; `.env` and environment are left alone."""
    file = f"sqlite:///{folder / 'demo.db'}"
    return {
        # one file in place of RabbitMQ and MySQL
        "amqp_url": file,
        "mysql_url": file,
        "queue": "demo",
        "retry_delay": 2,
        "progress_interval": 0.2,
        "lease_seconds": 5,  # so that a killed worker is missed soon; the default is 60
        "shutdown_grace": 1,
        "idle_timeout": 60,  # should this process be killed, its workers do not outlive it for long
        "feishu_webhook_url": receiver.feishu_url,
        "log_dir": folder,
    }


@contextmanager
def _stopped_by_signals() -> Iterator[None]:
    """The first one is a KeyboardInterrupt; further ones must not disturb the tidying up."""

    def stop(number: int, frame: FrameType | None) -> NoReturn:
        for each in STOP_SIGNALS:
            signal.signal(each, signal.SIG_IGN)
        raise KeyboardInterrupt

    before = {number: signal.signal(number, stop) for number in STOP_SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
