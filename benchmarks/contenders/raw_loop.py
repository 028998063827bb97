"""The least that a task can cost: pika, one INSERT that claims it, one UPDATE that finishes it, then the ack."""

from __future__ import annotations

import json
import os

import pika

from benchmarks.site import connect
from benchmarks.stopwatch import Stopwatch


def main() -> None:
    watch = Stopwatch.from_environment()
    with (
        pika.BlockingConnection(pika.URLParameters(os.environ["BENCH_AMQP_URL"])) as connection,
        connect(os.environ["BENCH_MYSQL_URL"]) as database,
        database.cursor() as cursor,
    ):
        cursor.execute(
            "CREATE TABLE IF NOT EXISTS raw_tasks (id VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin"
            " PRIMARY KEY, status VARCHAR(20), data LONGTEXT, result LONGTEXT)"
        )
        channel = connection.channel()
        channel.basic_qos(prefetch_count=int(os.environ["BENCH_PREFETCH"]))
        for method, _, body in channel.consume(os.environ["BENCH_QUEUE"]):
            task = json.loads(body)
            cursor.execute("INSERT INTO raw_tasks VALUES (%s, 'running', %s, NULL)", (task["task_id"], body))
            watch.tick()
            cursor.execute("UPDATE raw_tasks SET status='success', result='{}' WHERE id=%s", (task["task_id"],))
            channel.basic_ack(method.delivery_tag)


if __name__ == "__main__":
    main()
