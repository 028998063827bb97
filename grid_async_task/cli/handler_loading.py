"""From the name of a handler to the handler."""

from __future__ import annotations

from functools import reduce
from importlib import import_module
from typing import Any

from grid_async_task.domain.errors import ConfigurationError
from grid_async_task.handler import TaskHandler
from grid_async_task.settings import Settings

HOW = "name it by --handler MODULE:NAME or GRID_ASYNC_TASK_HANDLER, for example tasks:ConvertDocument"


class NamedHandler(TaskHandler):
    """Stands for a handler that runs in a process of its own, and is made only there: pickled, it is its name."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __reduce__(self) -> tuple[Any, ...]:
        return load_handler, (self._name,)

    def on_task_complete(self, result: Any) -> None:
        """Says to whoever asks that the handler may want to hear of each commit; here nobody knows."""


def handler_to_run(settings: Settings) -> TaskHandler:
    """What `HANDLER` names, made here, or where it is run. Raises as `find_handler` does."""
    if settings.isolation == "process" and settings.handler is not None:
        return NamedHandler(settings.handler)
    return load_handler(settings.handler)


def load_handler(name: str | None) -> TaskHandler:
    """The instance that `package.module:Name` stands for, made if that is a class. Raises as `find_handler` does."""
    found = find_handler(name)
    if isinstance(found, TaskHandler):
        return found
    try:
        return found()
    except TypeError as error:
        raise ConfigurationError(
            f"the handler {name} can't be made without arguments: {error}; give it defaults, or name an instance"
        ) from error


def find_handler(name: str | None) -> TaskHandler | type[TaskHandler]:
    """What the name stands for. Raises `ConfigurationError`, or what the module itself raises on import."""
    if name is None:
        raise ConfigurationError(f"no handler to run: {HOW}")
    module_name, _, attribute = name.partition(":")
    try:
        found = reduce(getattr, attribute.split("."), import_module(module_name))
    except ImportError as error:
        raise ConfigurationError(
            f"the handler {name} can't be imported: {error}; modules are looked for in the working directory, in"
            " PYTHONPATH and among the installed packages"
        ) from error
    except AttributeError as error:
        raise ConfigurationError(f"the handler {name} can't be found: {error}; {HOW}") from error
    if isinstance(found, TaskHandler) or (isinstance(found, type) and issubclass(found, TaskHandler)):
        return found
    raise ConfigurationError(
        f"the handler {name} is {found!r}; it has to be a subclass of grid_async_task.TaskHandler, or an instance"
    )
