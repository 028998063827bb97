"""What the application needs from the world outside, as small abstract classes.

The docstrings state what an adapter has to fulfil; `grid_async_task.testing.contracts`
holds the tests that check it.
"""

from grid_async_task.ports.attempt_view import AttemptView
from grid_async_task.ports.background import Background
from grid_async_task.ports.callback_sender import CallbackDeferred, CallbackFailed, CallbackSender
from grid_async_task.ports.clock import Clock
from grid_async_task.ports.errors import (
    BrokerUnavailable,
    DataRefused,
    PublishRefused,
    RepositoryUnavailable,
)
from grid_async_task.ports.handler_runner import (
    AskedToSnooze,
    Died,
    Ending,
    HandlerRun,
    HandlerRunner,
    Interrupted,
    Raised,
    Returned,
)
from grid_async_task.ports.inspector import Finding, Inspector, Level, Missing
from grid_async_task.ports.interrupts import Guard, Interrupts
from grid_async_task.ports.message_publisher import MessagePublisher, OutgoingMessage, QueueState
from grid_async_task.ports.message_source import Delivery, MessageSource
from grid_async_task.ports.notifier import NoNotifier, Notice, Notifier
from grid_async_task.ports.observer import NO_OBSERVER, OUTCOME_WORDS, CallbackTry, Observer, Publish, outcome_word
from grid_async_task.ports.recurring import RecurringTask, Schedule
from grid_async_task.ports.task_repository import (
    Backlog,
    CallbackMark,
    Pruned,
    Reading,
    Renewal,
    TaskFilter,
    TaskRepository,
)

__all__ = [
    "NO_OBSERVER",
    "OUTCOME_WORDS",
    "AskedToSnooze",
    "AttemptView",
    "Background",
    "Backlog",
    "BrokerUnavailable",
    "CallbackDeferred",
    "CallbackFailed",
    "CallbackMark",
    "CallbackSender",
    "CallbackTry",
    "Clock",
    "DataRefused",
    "Delivery",
    "Died",
    "Ending",
    "Finding",
    "Guard",
    "HandlerRun",
    "HandlerRunner",
    "Inspector",
    "Interrupted",
    "Interrupts",
    "Level",
    "MessagePublisher",
    "MessageSource",
    "Missing",
    "NoNotifier",
    "Notice",
    "Notifier",
    "Observer",
    "OutgoingMessage",
    "Pruned",
    "Publish",
    "PublishRefused",
    "QueueState",
    "Raised",
    "Reading",
    "RecurringTask",
    "Renewal",
    "RepositoryUnavailable",
    "Returned",
    "Schedule",
    "TaskFilter",
    "TaskRepository",
    "outcome_word",
]
