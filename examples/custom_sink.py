"""A callback sink of one's own: any object with `send(callback)`, given to the worker by name.

A message asks for it with `"callback_type": "logbook"` and says in `callback_data` which logbook.
`python custom_sink.py` runs one such task; it needs no servers.
"""

from __future__ import annotations

import json
import os
import uuid
from pathlib import Path
from typing import Any

from grid_async_task import PermanentCallbackError, Settings, TaskHandler
from grid_async_task.bootstrap import create_producer, create_worker
from grid_async_task.domain.callback import Callback


class LogbookSink:
    """Adds each callback as a line of JSON to the file that its `callback_data` names.

    The receiver drops repeats by the `id` in the line: a callback comes at least once.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def send(self, callback: Callback) -> None:
        """Returning says that the receiver has it; whatever else is raised (here an `OSError`) is a failed try."""
        name = callback.data.get("logbook")
        if not isinstance(name, str) or not name.isidentifier():
            # no later try can mend this, so there are none
            raise PermanentCallbackError('callback_data needs {"logbook": NAME}, a name of letters and digits')
        line = json.dumps({"id": callback.id, "callback": callback.body.decode()})
        # opened anew and written in one go, since a worker sends from several threads; on the disk before we return
        with (self._directory / f"{name}.jsonl").open("ab", buffering=0) as logbook:
            logbook.write(f"{line}\n".encode())
            os.fsync(logbook.fileno())


class Square(TaskHandler):
    def execute(self, task_data: dict[str, Any]) -> Any:
        return {"square": task_data["number"] ** 2}


def main(directory: Path) -> None:
    settings = Settings(amqp_url="memory://", mysql_url="memory://", queue=f"squares-{uuid.uuid4()}", idle_timeout=0.5)
    with create_producer(settings=settings) as producer:
        producer.send_task(
            {"data": {"number": 7}, "callback_type": "logbook", "callback_data": {"logbook": "squares"}}, "square-of-7"
        )
    create_worker(Square(), settings=settings, callback_senders={"logbook": LogbookSink(directory)}).run()
    print((directory / "squares.jsonl").read_text(), end="")


if __name__ == "__main__":
    main(Path.cwd())
