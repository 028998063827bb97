"""Workers, a broker that may be disturbed, and a look at every place where a message can be."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pika
from pika.exceptions import ChannelClosedByBroker

from grid_async_task import Task, TaskStatus
from grid_async_task.adapters.rabbitmq.delay_ladder import RUNGS, UNROUTED, rung_name
from tests.servers.rabbitmq import RabbitServer, new_queue_name
from tests.servers.tcp_proxy import TcpProxy, url_through
from tests.waiting import eventually
from tests.worker_site import Site


class BrokerSite(Site):
    """Its broker is no other test's at the same time; what others have left in the delay queues is not looked at."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self._foreign = self._in_delay_queues()

    @property
    def queue(self) -> str:
        return str(self.settings["queue"])

    def through(self, proxy: TcpProxy, setting: str = "amqp_url", **query: str) -> dict[str, str]:
        """The setting of a worker that goes by this proxy."""
        return {setting: url_through(proxy, self.settings[setting], **query)}

    def succeeded(self, task_id: str = "t", attempt: int = 1) -> None:
        """The row says so, with no crash and as many retries as it had to have; and the handler's own count."""

        def look() -> Task | None:
            task = self.client.get_task(task_id)
            return task if task is not None and task.status is TaskStatus.SUCCESS else None

        try:
            task = eventually(look, 60, f"{task_id} succeeds")
        except AssertionError as error:
            logs = "\n".join(worker.log() for worker in self.workers)
            raise AssertionError(f"{error}; it is {self.client.get_task(task_id)}\n{logs}") from None
        assert task is not None
        assert (task.attempt, task.retry_count, task.crash_count) == (attempt, attempt - 1, 0)
        assert task.result == {"attempt": attempt}
        starts = [line for line in self.starts() if line.split()[1] == task_id]
        assert starts == [f"start {task_id} {number}" for number in range(1, attempt + 1)]

    def is_final(self, task_id: str) -> bool:
        task = self.client.get_task(task_id)
        return task is not None and task.status.is_final

    def nothing_is_left(self, broker: RabbitServer) -> None:
        """No message parked, none on the queue, none in a worker's hands; and the workers end in good order."""

        def all_acknowledged() -> bool:
            # in this order: a parked one that comes due is on the queue before it leaves its delay queue
            return self.parked() <= 0 and broker.messages(self.queue) == 0

        for _ in range(5):
            eventually(all_acknowledged, what="every message is acknowledged")
            self._stop_workers()
            if all_acknowledged():
                return
            # a ticket that a worker held on to while the broker was away and has published since, or one that the
            # broker has sent on a second time after its restart
            self.worker()
        raise AssertionError("there is always one message more")

    def _stop_workers(self) -> None:
        for worker in self.workers:
            worker.terminate()
        assert [worker.ended() for worker in self.workers] == [0] * len(self.workers)

    def parked(self) -> int:
        return self._in_delay_queues() - self._foreign

    def _in_delay_queues(self) -> int:
        count = 0
        with pika.BlockingConnection(pika.URLParameters(self.settings["amqp_url"])) as connection:
            channel = connection.channel()
            with contextlib.suppress(ChannelClosedByBroker):  # they exist once a worker has been there
                for queue in (*map(rung_name, range(RUNGS)), UNROUTED):
                    count += channel.queue_declare(queue, passive=True).method.message_count
        return count


@contextlib.contextmanager
def open_broker_site(directory: Path, amqp_url: str, mysql_url: str, **settings: Any) -> Iterator[BrokerSite]:
    """A lease of 6 s: nobody may take over anything, and a ticket that meets a running task is back as soon."""
    own = {"amqp_url": amqp_url, "queue": new_queue_name(), "mysql_url": mysql_url, "lease_seconds": 6}
    site = BrokerSite(directory, {**own, "retry_delay": 1, **settings})
    try:
        yield site
    finally:
        for worker in site.workers:
            worker.__exit__(None, None, None)
        site.client.close()
