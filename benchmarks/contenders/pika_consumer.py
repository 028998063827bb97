"""pika alone: how long a message takes from one process to another."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import pika

from benchmarks.stopwatch import write_report


def main() -> None:
    wanted = int(os.environ["BENCH_TASKS"].split("-")[1])
    seconds: list[float] = []

    def received(channel: Any, method: Any, _: Any, body: bytes) -> None:
        seconds.append(time.perf_counter() - json.loads(body)["data"]["sent_at"])
        channel.basic_ack(method.delivery_tag)
        if len(seconds) == wanted:
            write_report(Path(os.environ["BENCH_REPORT"]), seconds)

    with pika.BlockingConnection(pika.URLParameters(os.environ["BENCH_AMQP_URL"])) as connection:
        channel = connection.channel()
        channel.basic_qos(prefetch_count=1)
        channel.basic_consume(os.environ["BENCH_QUEUE"], received)
        channel.start_consuming()


if __name__ == "__main__":
    main()
