"""Every port in memory: for fast unit tests, and for a worker that needs no servers (`memory://`)."""

from grid_async_task.adapters.memory.broker import MemoryBroker, MemoryMessagePublisher, MemoryMessageSource
from grid_async_task.adapters.memory.callback_sender import RecordingCallbackSender
from grid_async_task.adapters.memory.clock import FakeClock
from grid_async_task.adapters.memory.notifier import RecordingNotifier
from grid_async_task.adapters.memory.task_repository import MemoryTaskRepository

__all__ = [
    "FakeClock",
    "MemoryBroker",
    "MemoryMessagePublisher",
    "MemoryMessageSource",
    "MemoryTaskRepository",
    "RecordingCallbackSender",
    "RecordingNotifier",
]
