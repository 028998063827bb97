"""Several observers as one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

from grid_async_task.domain.callback import Callback
from grid_async_task.domain.outcome import Outcome
from grid_async_task.domain.task import Task
from grid_async_task.ports import CallbackTry, Observer, OutgoingMessage, Publish


class Observers(Observer):
    """Tells each of them, in their order."""

    def __init__(self, observers: Sequence[Observer]) -> None:
        self._observers = tuple(observers)

    @contextmanager
    def while_working(self) -> Iterator[None]:
        with ExitStack() as stack:
            for observer in self._observers:
                stack.enter_context(observer.while_working())
            yield

    def sending(self, messages: Sequence[OutgoingMessage], publish: Publish) -> list[Exception | None]:
        for observer in reversed(self._observers):
            publish = partial(observer.sending, publish=publish)
        return publish(messages)

    @contextmanager
    def attempt(self, task: Task, headers: Mapping[str, Any]) -> Iterator[dict[str, str]]:
        with ExitStack() as stack:
            added: dict[str, str] = {}
            for observer in self._observers:
                added.update(stack.enter_context(observer.attempt(task, headers)))
            yield added

    @contextmanager
    def calling_back(self, task: Task, callback: Callback, headers: Mapping[str, Any]) -> Iterator[dict[str, str]]:
        with ExitStack() as stack:
            added: dict[str, str] = {}
            for observer in self._observers:
                added.update(stack.enter_context(observer.calling_back(task, callback, headers)))
            yield added

    def claimed_together(self, tasks: int) -> None:
        self._tell(lambda observer: observer.claimed_together(tasks))

    def handler_ran(self, task: Task, seconds: float) -> None:
        self._tell(lambda observer: observer.handler_ran(task, seconds))

    def settled(self, task: Task, outcome: Outcome) -> None:
        self._tell(lambda observer: observer.settled(task, outcome))

    def claim_lost(self, task: Task) -> None:
        self._tell(lambda observer: observer.claim_lost(task))

    def taken_over(self, task: Task) -> None:
        self._tell(lambda observer: observer.taken_over(task))

    def callback_tried(self, task: Task, result: CallbackTry) -> None:
        self._tell(lambda observer: observer.callback_tried(task, result))

    def dead_letter(self, reason: str) -> None:
        self._tell(lambda observer: observer.dead_letter(reason))

    def connection_lost(self, to: str) -> None:
        self._tell(lambda observer: observer.connection_lost(to))

    def _tell(self, tell: Callable[[Observer], None]) -> None:
        for observer in self._observers:
            tell(observer)
