"""The bare script: imports what a worker can't do without, connects to both servers, and waits."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pika
import sqlalchemy

from benchmarks.stopwatch import Stopwatch

broker = pika.BlockingConnection(pika.URLParameters(os.environ["BENCH_AMQP_URL"]))
channel = broker.channel()
database = sqlalchemy.create_engine(os.environ["BENCH_MYSQL_URL"]).connect()  # by PyMySQL
Stopwatch(1, 1, Path(os.environ["BENCH_REPORT"])).tick()
signal.pause()
