"""A publisher that is closed while it waits for a broker that says nothing."""

from __future__ import annotations

import socket
import threading
import time

from grid_async_task.adapters.rabbitmq import RabbitMessagePublisher
from grid_async_task.ports import BrokerUnavailable, OutgoingMessage
from tests.waiting import eventually


def test_closing_ends_the_waiting_of_a_publish() -> None:
    caught: list[Exception] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        publisher = RabbitMessagePublisher(f"amqp://127.0.0.1:{listener.getsockname()[1]}/", timeout_s=60)

        def publish() -> None:
            try:
                publisher.publish(OutgoingMessage("q", b"{}"))
            except BrokerUnavailable as error:
                caught.append(error)

        thread = threading.Thread(target=publish)
        thread.start()
        connection, _ = listener.accept()
        with connection:
            eventually(lambda: connection.recv(8), what="it has begun to speak AMQP")
            began = time.monotonic()
            publisher.close()
            thread.join(20)
        assert not thread.is_alive()
        assert time.monotonic() - began < 10
    assert len(caught) == 1
    publisher.close()
    assert publisher.silent_s == 0
