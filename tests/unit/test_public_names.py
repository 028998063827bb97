"""What SPEC section 10 promises to those who import the package: names, signatures, and what an import costs."""

from __future__ import annotations

import builtins
import importlib
import inspect
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import grid_async_task
from grid_async_task import bootstrap

ADAPTERS_OF_A_WORKER = "repository source publisher callback_senders notifier clock"

#: parameters as in SPEC section 10; `self` left out
SIGNATURES: dict[str, str] = {
    "TaskHandler.execute": "(task_data)",
    "TaskHandler.report_progress": "(progress, message='')",
    "TaskHandler.get_task_id": "()",
    "TaskHandler.get_task_data": "()",
    "TaskHandler.validate_task_data": "(task_data)",
    "TaskHandler.on_task_start": "()",
    "TaskHandler.on_task_complete": "(result)",
    "TaskHandler.on_task_error": "(error)",
    "TaskHandler.should_retry": "(error)",
    "TaskHandler.ack": "()",
    "TaskHandler.reject": "(requeue=False)",
    "TaskHandler.save_checkpoint": "(value)",
    "TaskProcessor": (
        "(handler, *, max_retry_count=None, retry_delay=None, progress_interval=None, enable_auto_ack=True, "
        "prefetch_count=None, idle_timeout=None, task_timeout=None, queue=None, settings=None, repository=None, "
        "source=None, publisher=None, callback_senders=None, notifier=None, clock=None)"
    ),
    "TaskProcessor.start": "()",
    "TaskProcessor.stop": "()",
    "TaskProcessor.get_status": "()",
    "TaskProducer.send_task": "(task_data, task_id=None, queue_name=None, *, delay=None, at=None, priority=None)",
    "TaskProducer.send_task_to_queue": "(task_data, queue_name, task_id=None)",
    "TaskProducer.batch_send_tasks": "(tasks, queue_name=None)",
    "TaskProducer.get_declared_queues": "()",
    "TaskProducer.is_queue_declared": "(queue_name)",
    "TaskProducer.close": "()",
    "TaskClient.get_task": "(task_id)",
    "TaskClient.get_progress": "(task_id)",
    "TaskClient.list_tasks": "(status=None, task_type=None, queue=None, limit=100, before=None)",
    "TaskClient.count_by_status": "()",
    "TaskClient.cancel_task": "(task_id)",
    "TaskClient.retry_task": "(task_id)",
    "TaskClient.prune_tasks": "(older_than_days=30)",
}
#: these may take more, but only by keyword and never as a must
OPEN_SIGNATURES: dict[str, str] = {
    "TaskProducer": "(default_queue=None, *, record_pending=True)",
    "TaskClient": "()",
    "bootstrap.create_worker": (
        "(handler, *, settings=None, repository=None, source=None, publisher=None, callback_senders=None, "
        "notifier=None, clock=None)"
    ),
    "bootstrap.create_producer": "(default_queue=None, *, record_pending=True)",
    "bootstrap.create_client": "()",
}

ERRORS = [
    "GridAsyncTaskError",
    "ConfigurationError",
    "ValidationError",
    "ConnectionError",
    "TimeoutError",
    "RetryExhausted",
    "TaskCancelled",
    "Retry",
    "Discard",
    "Snooze",
    "BatchError",
    "PermanentCallbackError",
]


def find(path: str) -> Callable[..., Any]:
    found: Any = {"bootstrap": bootstrap}.get(path.split(".")[0], grid_async_task)
    for name in path.removeprefix("bootstrap.").split("."):
        found = getattr(found, name)
    return found  # type: ignore[no-any-return]


def parameters(path: str) -> list[inspect.Parameter]:
    found = find(path)
    signature = inspect.signature(found)
    # a constructor's signature has no self
    given = [each for each in signature.parameters.values() if each.name != "self"]
    return [each.replace(annotation=inspect.Parameter.empty) for each in given]


@pytest.mark.parametrize("path", SIGNATURES)
def test_a_signature_is_the_one_of_the_contract(path: str) -> None:
    assert str(inspect.Signature(parameters(path))) == SIGNATURES[path]


@pytest.mark.parametrize("path", OPEN_SIGNATURES)
def test_what_a_signature_has_beyond_the_contract_is_a_keyword_with_a_default(path: str) -> None:
    wanted = OPEN_SIGNATURES[path]
    promised = {name.strip("*, ()").split("=")[0] for name in wanted.split(",")} - {""}
    given = parameters(path)
    assert str(inspect.Signature([each for each in given if each.name in promised])) == wanted
    for extra in (each for each in given if each.name not in promised):
        assert extra.kind is inspect.Parameter.KEYWORD_ONLY, extra
        assert extra.default is not inspect.Parameter.empty, extra


@pytest.mark.parametrize("name", ADAPTERS_OF_A_WORKER.split())
def test_a_worker_and_a_processor_take_the_same_adapters(name: str) -> None:
    assert name in inspect.signature(bootstrap.create_worker).parameters
    assert name in inspect.signature(grid_async_task.TaskProcessor).parameters


@pytest.mark.parametrize("name", ["is_running", "current_task_id"])
def test_a_processor_is_asked_without_brackets(name: str) -> None:
    assert isinstance(inspect.getattr_static(grid_async_task.TaskProcessor, name), property)


@pytest.mark.parametrize("name", ["task_id", "task_data", "attempt", "checkpoint", "cancelled"])
def test_a_handler_knows_its_task_even_without_its_own_init(name: str) -> None:
    class Own(grid_async_task.TaskHandler):
        def __init__(self) -> None:
            pass

    resting = {"task_id": None, "task_data": None, "attempt": 0, "checkpoint": None, "cancelled": False}
    assert getattr(Own(), name) == resting[name]


def test_every_public_name_is_there() -> None:
    classes = "TaskHandler, TaskProcessor, TaskProducer, TaskClient, Settings, Task, TaskStatus, TaskInterrupted"
    names = [*classes.split(", "), *ERRORS]
    assert set(names) == set(grid_async_task.__all__)
    for name in names:
        assert inspect.isclass(getattr(grid_async_task, name))


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="DatabaseManager"):
        _ = grid_async_task.DatabaseManager


@pytest.mark.parametrize("name", ERRORS)
def test_every_error_has_the_one_base(name: str) -> None:
    assert issubclass(getattr(grid_async_task, name), grid_async_task.GridAsyncTaskError)


@pytest.mark.parametrize("name", [name for name in ERRORS if hasattr(builtins, name)])
def test_an_error_that_shares_a_builtins_name_is_caught_as_it(name: str) -> None:
    assert issubclass(getattr(grid_async_task, name), getattr(builtins, name))


def test_connection_and_timeout_are_the_names_that_builtins_share() -> None:
    assert {name for name in ERRORS if hasattr(builtins, name)} == {"ConnectionError", "TimeoutError"}


def test_an_interrupt_escapes_a_handlers_own_except() -> None:
    assert not issubclass(grid_async_task.TaskInterrupted, Exception)


@pytest.mark.parametrize(
    ("module", "names"),
    [
        (
            "grid_async_task.ports",
            "TaskRepository MessageSource MessagePublisher CallbackSender Notifier Clock "
            "Delivery OutgoingMessage Notice BrokerUnavailable RepositoryUnavailable DataRefused PublishRefused",
        ),
        (
            "grid_async_task.adapters.memory",
            "MemoryBroker MemoryTaskRepository RecordingCallbackSender RecordingNotifier FakeClock",
        ),
    ],
)
def test_ports_and_memory_adapters_are_where_the_contract_says(module: str, names: str) -> None:
    found = importlib.import_module(module)
    assert [name for name in names.split() if not hasattr(found, name)] == []


@pytest.mark.parametrize(
    ("statement", "without"),
    [
        ("import grid_async_task", "sqlalchemy pika alembic requests dependency_injector dotenv"),
        ("from grid_async_task import TaskHandler, ValidationError", "sqlalchemy pika alembic requests"),
        ("from grid_async_task import Settings", "sqlalchemy pika alembic requests"),
        ("from grid_async_task import TaskProducer, TaskProcessor, TaskClient", "sqlalchemy pika alembic requests"),
    ],
)
def test_an_import_is_silent_and_brings_only_what_it_needs(statement: str, without: str) -> None:
    program = f"{statement}\nimport sys\nprint(*[name for name in {without.split()} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr, done.stdout.strip()) == (0, "", "")


def test_the_package_says_that_it_is_typed() -> None:
    assert (Path(grid_async_task.__file__).parent / "py.typed").is_file()
