"""Send a task to a grid_async_task worker with plain pika.

AMQP_URL=amqp://guest:guest@localhost:5672/ QUEUE=task_queue python publish.py
"""

from __future__ import annotations

import json
import os
import sys
import uuid

import pika
import pika.exceptions


def main() -> None:
    queue = os.environ.get("QUEUE", "task_queue")
    parameters = pika.URLParameters(os.environ.get("AMQP_URL", "amqp://guest:guest@localhost:5672/"))
    task = {"task_id": str(uuid.uuid4()), "task_type": "greeting", "data": {"name": "Python"}}
    with pika.BlockingConnection(parameters) as connection:
        channel = connection.channel()
        channel.confirm_delivery()  # basic_publish returns only once the broker has the message safe
        try:
            channel.basic_publish(
                exchange="",  # the default exchange: the routing key is the queue's name
                routing_key=queue,
                body=json.dumps(task).encode(),
                properties=pika.BasicProperties(content_type="application/json", delivery_mode=2),  # 2: on disk
                mandatory=True,  # without it a message to a missing queue is lost in silence
            )
        except pika.exceptions.UnroutableError:
            sys.exit(f"queue {queue} does not exist: start a worker, or run `grid-async-task migrate`")
    print(task["task_id"])


if __name__ == "__main__":
    main()
