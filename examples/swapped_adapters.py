"""Other adapters in place of the package's own: a notifier, and a repository around another repository.

Nothing in the package changes for it: `create_worker` takes any port's adapter by the port's name.
`python swapped_adapters.py` runs two tasks, one of which fails; it needs no servers.
"""

from __future__ import annotations

import json
import threading
import uuid
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

from grid_async_task import Settings, TaskHandler
from grid_async_task.adapters.memory import MemoryTaskRepository
from grid_async_task.adapters.process.clock import SystemClock
from grid_async_task.bootstrap import create_producer, create_worker
from grid_async_task.ports import Notice, Notifier, TaskRepository


class LineNotifier(Notifier):
    """Writes each notice as a line of JSON to a file, for whatever reads such files."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def notify(self, notice: Notice) -> None:
        line = json.dumps({"title": notice.title, "facts": notice.facts, "traceback": notice.traceback})
        with self._path.open("ab", buffering=0) as file:  # one write, so that lines do not mix
            file.write(f"{line}\n".encode())


def counted(repository: TaskRepository, calls: Counter[str]) -> TaskRepository:
    """The same repository, with every call counted by its method's name.

    It has all of the port's methods because it is made from the port, so it needs no change when the port grows.
    """
    lock = threading.Lock()  # the heartbeat calls from a thread of its own

    def counting(name: str) -> Callable[..., Any]:
        method = getattr(repository, name)

        def call(self: TaskRepository, *args: Any, **keywords: Any) -> Any:
            with lock:
                calls[name] += 1
            return method(*args, **keywords)

        return call

    methods = {name: counting(name) for name in TaskRepository.__abstractmethods__}
    return cast(TaskRepository, type("CountedRepository", (TaskRepository,), methods)())


class Divide(TaskHandler):
    def execute(self, task_data: dict[str, Any]) -> Any:
        return {"quotient": task_data["dividend"] / task_data["divisor"]}


def main(directory: Path) -> None:
    settings = Settings(amqp_url="memory://", queue=f"divisions-{uuid.uuid4()}", idle_timeout=0.5)
    calls: Counter[str] = Counter()
    repository = counted(MemoryTaskRepository(SystemClock()), calls)
    notices = directory / "notices.jsonl"
    with create_producer(settings=settings, record_pending=False) as producer:
        producer.send_task({"data": {"dividend": 42, "divisor": 6}}, "good")
        producer.send_task({"data": {"dividend": 42, "divisor": 0}}, "bad")
    create_worker(Divide(), settings=settings, repository=repository, notifier=LineNotifier(notices)).run()

    for task_id in ("good", "bad"):
        reading = repository.read(task_id)
        assert reading is not None
        print(task_id, reading.task.status.value, reading.task.result)
    print("claims:", calls["insert_claimed"], "outcomes:", calls["settle"])
    for line in notices.read_text().splitlines():
        print("notice:", json.loads(line)["facts"]["error"])


if __name__ == "__main__":
    main(Path.cwd())
