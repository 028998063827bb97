"""The worker's side of what a handler in a process of its own asks and says."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from contextvars import Context, copy_context
from typing import Any

from grid_async_task.adapters.process.link import Message
from grid_async_task.ports import AttemptView


class Questions:
    """Answers them for one attempt, in the context of the thread that made this: so log lines name the task."""

    def __init__(
        self, attempt: AttemptView, send: Callable[..., None], write_line: Callable[[dict[str, Any]], None]
    ) -> None:
        self._attempt = attempt
        self._send = send
        self._write_line = write_line
        self._context: Context = copy_context()

    def take(self, message: Message) -> None:
        self._context.run(self._take, message)

    def _take(self, message: Message) -> None:
        match message["kind"]:
            case "progress":
                self._attempt.report(message["percent"], message["message"])
            case "log":
                self._write_line(message["line"])
            case "ask":
                # in a thread of its own: a checkpoint waits for as long as the database is away
                threading.Thread(
                    target=copy_context().run,
                    args=(self._answer, message),
                    name="grid-async-task handler's question",
                    daemon=True,
                ).start()

    def _answer(self, message: Message) -> None:
        value = raised = text = None
        try:
            value = self._asked(message["what"], *message["arguments"])
        except BaseException as error:  # it belongs to the handler
            raised, text = type(error).__name__, str(error)
        self._send("answer", ask=message["ask"], value=value, raised=raised, text=text)

    def _asked(self, what: str, *arguments: Any) -> Any:
        match what:
            case "cancelled":
                return self._attempt.cancelled
            case "save_checkpoint":
                return self._attempt.save_checkpoint(json.loads(arguments[0]))
            case "acknowledge":
                return self._attempt.acknowledge()
            case "reject":
                return self._attempt.reject(requeue=arguments[0])
            case _:
                raise RuntimeError(f"nobody answers {what!r}")
