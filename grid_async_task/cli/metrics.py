from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import Annotated

import typer

from grid_async_task import adapter_choice
from grid_async_task.adapters.process.clock import SystemClock
from grid_async_task.adapters.process.stop_signals import STOP_SIGNALS
from grid_async_task.application.queue_state import QueueWatch
from grid_async_task.cli.options import Queue
from grid_async_task.cli.tools import Tools
from grid_async_task.domain.errors import ConfigurationError

#: seconds between two looks at broker and table
LOOK_EVERY_S = 15.0
#: counting may take this share of the time: in a table of millions it lasts a while, and slows others down
SHARE_OF_TIME = 0.05

Port = Annotated[
    int | None, typer.Option("--port", min=1, max=65535, help="Where to serve; default: GRID_ASYNC_TASK_METRICS_PORT.")
]


def add_to(app: typer.Typer) -> None:
    app.command("metrics", epilog="Example: grid-async-task metrics --queue reports --port 9464")(metrics)


def metrics(queue: Queue = None, port: Port = None) -> None:
    """Serve for Prometheus how a queue stands: what waits, for how long, who consumes.

    Until it is told to stop. Workers serve what they do themselves; this says what is to be known while there is
    none. One for each queue is enough.
    """
    adapter_choice.require_extra("metrics", "prometheus_client", "this command")
    from grid_async_task.adapters.prometheus import MetricsServer, StateMetrics

    with Tools(queue) as tools:
        port = port or tools.settings.metrics_port
        if port is None:
            raise ConfigurationError("no port: give --port, or set GRID_ASYNC_TASK_METRICS_PORT")
        shown = StateMetrics(tools.queue)
        watch = QueueWatch(tools.unprepared_repository, tools.publisher, SystemClock(), tools.queue)
        stopping = _stop_signal()
        with MetricsServer(port, shown.registry):
            while not stopping.is_set():
                report = watch.look()
                shown.show(report)
                stopping.wait(max(LOOK_EVERY_S, report.counted_s / SHARE_OF_TIME))


def _stop_signal() -> threading.Event:
    stopping = threading.Event()

    def stop(_number: int, _frame: FrameType | None) -> None:
        stopping.set()

    for number in STOP_SIGNALS:
        signal.signal(number, stop)
    return stopping
