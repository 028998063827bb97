"""One class of tests a port. Subclass it in your own tests, and say how your adapter is made.

    class TestMyRepository(TaskRepositoryContract):
        ...

Each class names the methods that it needs from you; all other methods are tests. They need pytest.
"""

from grid_async_task.testing.contracts.callback_sender import CallbackSenderContract
from grid_async_task.testing.contracts.clock import ClockContract
from grid_async_task.testing.contracts.handler_runner import HandlerRunnerContract
from grid_async_task.testing.contracts.message_publisher import MessagePublisherContract
from grid_async_task.testing.contracts.message_source import MessageSourceContract
from grid_async_task.testing.contracts.notifier import NotifierContract
from grid_async_task.testing.contracts.task_repository import TaskRepositoryContract

__all__ = [
    "CallbackSenderContract",
    "ClockContract",
    "HandlerRunnerContract",
    "MessagePublisherContract",
    "MessageSourceContract",
    "NotifierContract",
    "TaskRepositoryContract",
]
