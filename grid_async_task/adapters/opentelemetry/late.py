"""Traces from the moment on from which there can be any."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

from grid_async_task.domain.callback import Callback
from grid_async_task.domain.outcome import Outcome
from grid_async_task.domain.task import Task
from grid_async_task.ports import NO_OBSERVER, Observer, OutgoingMessage, Publish

#: without this module nobody can have set up anything
_SDK = "opentelemetry.sdk.trace"


class LateTracing(Observer):
    """Does nothing until the program has loaded OpenTelemetry's SDK, which is then used from the next task on.

    So it does not matter when the application sets it up, and a worker where nobody does is not
    held up at its start by loading what it has no use for.
    """

    def __init__(self, system: str) -> None:
        self._system = system
        self._tracing = NO_OBSERVER

    def sending(self, messages: Sequence[OutgoingMessage], publish: Publish) -> list[Exception | None]:
        return self._now().sending(messages, publish)

    def attempt(self, task: Task, headers: Mapping[str, Any]) -> AbstractContextManager[Mapping[str, str]]:
        return self._now().attempt(task, headers)

    def settled(self, task: Task, outcome: Outcome) -> None:
        self._now().settled(task, outcome)

    def calling_back(
        self, task: Task, callback: Callback, headers: Mapping[str, Any]
    ) -> AbstractContextManager[Mapping[str, str]]:
        return self._now().calling_back(task, callback, headers)

    def _now(self) -> Observer:
        if self._tracing is NO_OBSERVER and _SDK in sys.modules:
            from grid_async_task.adapters.opentelemetry.observer import TracingObserver

            self._tracing = TracingObserver(self._system)
        return self._tracing
