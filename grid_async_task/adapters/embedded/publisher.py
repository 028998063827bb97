"""Putting messages into the file."""

from __future__ import annotations

import json
import os
import sqlite3
import time
from collections.abc import Mapping, Sequence
from typing import Any

from grid_async_task.adapters.embedded.queue_file import REGISTER_QUEUE, QueueFile
from grid_async_task.ports.errors import BrokerUnavailable, PublishRefused
from grid_async_task.ports.message_publisher import MessagePublisher, OutgoingMessage, QueueState

_INSERT = """
    INSERT INTO grid_async_task_messages (queue, body, headers, properties, due_at) VALUES (?, ?, ?, ?, ?)
"""
_COUNT_READY = """
    SELECT count(*) FROM grid_async_task_messages WHERE queue = ? AND due_at <= ? AND leased_until <= ?
"""


class EmbeddedMessagePublisher(MessagePublisher):
    """A publish is confirmed by its commit. There are no exchanges here: `exchange` is ignored.

    Delays are exact. A header or property that JSON does not know arrives as text.
    """

    def __init__(self, path_or_url: str | os.PathLike[str]) -> None:
        self._file = QueueFile(path_or_url)

    def publish(self, message: OutgoingMessage) -> None:
        self._insert([message])

    def publish_many(self, messages: Sequence[OutgoingMessage]) -> list[Exception | None]:
        """All or none: they are one transaction."""
        try:
            self._insert(messages)
        except (BrokerUnavailable, PublishRefused) as error:
            return [error] * len(messages)
        return [None] * len(messages)

    def declare(self, queue: str) -> QueueState:
        with self._file.writing() as db:
            db.execute(REGISTER_QUEUE, (queue,))
            now = time.time()
            return QueueState(ready=db.execute(_COUNT_READY, (queue, now, now)).fetchone()[0])

    def look_at(self, queue: str) -> QueueState | None:
        with self._file.reading() as db:
            if db.execute("SELECT 1 FROM grid_async_task_queues WHERE name = ?", (queue,)).fetchone() is None:
                return None
            now = time.time()
            return QueueState(ready=db.execute(_COUNT_READY, (queue, now, now)).fetchone()[0])

    def close(self) -> None:
        self._file.close()

    def _insert(self, messages: Sequence[OutgoingMessage]) -> None:
        try:
            with self._file.writing() as db:
                now = time.time()
                db.executemany(REGISTER_QUEUE, {(message.queue,) for message in messages})
                db.executemany(_INSERT, [_row(message, now) for message in messages])
        except (sqlite3.DataError, OverflowError) as error:
            raise PublishRefused(f"the queue file does not take the message: {error}") from error


def _row(message: OutgoingMessage, now: float) -> tuple[str, bytes, str, str, float]:
    headers, properties = _as_json(message.headers), _as_json(message.properties)
    return message.queue, message.body, headers, properties, now + message.delay_s


def _as_json(fields: Mapping[str, Any]) -> str:
    return json.dumps({str(name): value for name, value in fields.items()}, default=_as_text)


def _as_text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
