from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Annotated

import typer

from grid_async_task.adapter_choice import export_traces
from grid_async_task.adapters.process.stop_signals import STOP_SIGNALS
from grid_async_task.cli.cold_start import no_garbage
from grid_async_task.cli.handler_loading import handler_to_run
from grid_async_task.cli.options import Queue
from grid_async_task.settings import Settings

Handler = Annotated[
    str | None,
    typer.Option(
        "--handler",
        metavar="MODULE:NAME",
        help="Your TaskHandler; default: GRID_ASYNC_TASK_HANDLER.",
    ),
]


def add_to(app: typer.Typer) -> None:
    app.command("worker", epilog="Example: grid-async-task worker --handler tasks:ConvertDocument")(worker)


def worker(handler: Handler = None, queue: Queue = None) -> None:
    """Run the tasks of a queue, one after another.

    Ends when it is told to (SIGTERM), or has had nothing to do for GRID_ASYNC_TASK_IDLE_TIMEOUT seconds, and exits
    with 0 then; with 2 when the configuration is wrong, else with 1.
    """
    settings = Settings.from_environment(handler=handler, queue=queue)
    settings.require("amqp_url", "rabbitmq_queue", "mysql_url")
    with _stoppable_to_the_last():
        with no_garbage():
            from grid_async_task.processor import TaskProcessor

            export_traces()
            processor = TaskProcessor(handler_to_run(settings), settings=settings)
        processor.start()


@contextmanager
def _stoppable_to_the_last() -> Iterator[None]:
    """A handler may import for a minute: whoever says stop meanwhile gets what a stopped worker answers.

    And once the worker has ended, a signal that comes late must not change the exit code of this process.
    """

    def leave(_number: int, _frame: FrameType | None) -> None:
        # at once: a second signal would interrupt the lines below, too, and as long as a signal has a handler in
        # Python it is deadly while the interpreter ends
        _answer_stop_signals_by(signal.SIG_IGN)
        sys.exit(0)

    _answer_stop_signals_by(leave)
    try:
        yield
    finally:
        _answer_stop_signals_by(signal.SIG_IGN)


def _answer_stop_signals_by(handler: signal.Handlers | Callable[[int, FrameType | None], None]) -> None:
    for number in STOP_SIGNALS:
        signal.signal(number, handler)
