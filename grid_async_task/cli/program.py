"""The program: its commands, its exit codes, and how it says what went wrong."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Sequence
from importlib import import_module

import typer

from grid_async_task.domain.errors import ConfigurationError, ConnectionError, GridAsyncTaskError

NAME = "grid-async-task"

#: what the command line returns, besides 0
EXIT_FAILED = 1
EXIT_CONFIGURATION = 2

#: in the order of the help. Each has a module of its name; that of `list` would hide Python's own
COMMANDS = (
    *("worker", "send", "status", "watch", "list", "retry", "cancel", "requeue", "sweep", "prune", "migrate", "check"),
    *("workers", "health", "metrics", "schema", "demo", "dead", "callbacks", "keda"),
)


def program(command: str | None = None) -> typer.Typer:
    """With this command, or with all: a worker's cold start has no use for the others' imports."""
    app = typer.Typer(
        name=NAME,
        help="Run workers, send tasks, and look after them. Settings come from the environment or a .env file"
        " (GRID_ASYNC_TASK_AMQP_URL, _QUEUE, _MYSQL_URL ...). Without a command it runs a worker.",
        epilog=f"Begin with: {NAME} check",
        add_completion=False,
        no_args_is_help=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
    )
    # makes typer ask for a command by name even while there is only one
    app.callback()(lambda: None)
    for name in (command,) if command in COMMANDS else COMMANDS:
        import_module(f"{__package__}.{'list_tasks' if name == 'list' else name}").add_to(app)
    return app


def run(arguments: Sequence[str]) -> int:
    """The exit code: 0, 2 where a person has to change the configuration or the call, 1 for anything else."""
    _make_working_directory_importable()
    _never_fail_at_a_letter()
    with_command = _with_command(arguments)
    try:
        program(with_command[0])(args=with_command, prog_name=NAME)
    except SystemExit as leaving:
        return leaving.code if isinstance(leaving.code, int) else EXIT_FAILED
    except ConfigurationError as error:
        print(error, file=sys.stderr)
        return EXIT_CONFIGURATION
    except ConnectionError as error:
        print(f"Error: {error}\nSee what is wrong by: {NAME} check", file=sys.stderr)
        return EXIT_FAILED
    except GridAsyncTaskError as error:
        print(f"Error: {error}", file=sys.stderr)
        return EXIT_FAILED
    except BrokenPipeError:
        # who reads has seen enough; Python must not find that out again when it flushes at its end
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_FAILED
    return 0


def _with_command(arguments: Sequence[str]) -> list[str]:
    """No command means `worker`, with or without its options."""
    is_bare = not arguments or (arguments[0].startswith("-") and arguments[0] != "--help")
    return ["worker", *arguments] if is_bare else list(arguments)


def _make_working_directory_importable() -> None:
    """As `python -m` does it: the team's handler lies there."""
    if "" not in sys.path and os.path.isdir(os.curdir) and os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())


def _never_fail_at_a_letter() -> None:
    """Tasks hold any text; a terminal that can't show it gets an escape."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
