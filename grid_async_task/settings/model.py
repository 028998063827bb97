"""Every setting: its default, its unit, what it may be."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from enum import Enum
from functools import cache
from pathlib import Path
from typing import Any, Literal

from grid_async_task.domain.errors import ConfigurationError
from grid_async_task.domain.message import MAX_RETRY_COUNT
from grid_async_task.domain.retry import RetryStrategy
from grid_async_task.settings import values
from grid_async_task.settings.environment import read_environment
from grid_async_task.settings.masking import mask, mask_url
from grid_async_task.settings.older_names import Given, read_older_names
from grid_async_task.settings.urls import amqp_url, mysql_url

# Not structlog: settings are read before it is configured, and unconfigured it would write to stdout.
_log = logging.getLogger(__name__)

PREFIX = "GRID_ASYNC_TASK_"
#: variables of the reference that have nothing to do here any more
_IGNORED = ("ROUTING_KEY", "HEALTH_CHECK_INTERVAL")
#: other names of settings, after the prefix
_ALIASES = {"TIMEOUT": "task_timeout"}
#: characters in a table's name, for MySQL
_MAX_TABLE_CHARACTERS = 64
#: characters of a bad value that an error shows
_MAX_SHOWN = 200

#: what can be missing: the name that the error gives it, and an example
_REQUIRED = {
    "amqp_url": ("amqp_url", "amqp://guest:guest@localhost:5672/"),
    "rabbitmq_queue": ("queue", "task_queue"),
    "mysql_url": ("mysql_url", "mysql+pymysql://root:password@localhost:3306/task_db?charset=utf8mb4"),
}

_IDENTIFIER = "letters, digits and underscores (a-z, A-Z, 0-9, _)"


def _setting(default: Any, parse: values.Parser, *, show: Callable[[object], str] = repr) -> Any:
    return field(default=default, metadata={"parse": parse, "show": show})


@dataclass(frozen=True, kw_only=True, repr=False)
class Settings:
    """All settings, checked. The variable of a field is its name in capitals after `GRID_ASYNC_TASK_`.

    Values may be given as text, as an environment has them, or as what they mean. Raises
    `ConfigurationError` that names every bad value. Its `repr` hides the secrets.
    """

    # -- servers ----------------------------------------------------------------------------------

    #: the broker: `amqp://`, `amqps://`, `sqlite:///FILE` (embedded mode) or `memory://` (one process)
    amqp_url: str | None = _setting(None, amqp_url, show=lambda url: repr(mask_url(url)))
    #: the work queue
    queue: str | None = _setting(None, values.queue_name)
    #: the database: `mysql+pymysql://`, `sqlite:///FILE` or `memory://`
    mysql_url: str | None = _setting(None, mysql_url, show=lambda url: repr(mask_url(url)))
    #: put before the names of all tables
    table_prefix: str = _setting("grid_async_task_", values.text(_IDENTIFIER, r"[A-Za-z0-9_]*"))
    #: the name of the table of tasks, without the prefix
    table_name: str = _setting("tasks", values.text(_IDENTIFIER, r"[A-Za-z0-9_]+"))
    #: the exchange through which TaskProducer publishes; empty: straight to the queue
    exchange: str = _setting("", values.text("an exchange's name, at most 255 characters", r".{0,255}"))
    #: type of the queues that we create; None: the broker's own default
    queue_type: Literal["classic", "quorum"] | None = _setting(None, values.word("classic", "quorum"))
    #: seconds that a publish waits for the broker's confirm
    publish_timeout: float = _setting(30.0, values.seconds(zero=False))
    #: database connections that are kept open
    db_pool_size: int = _setting(1, values.whole(1))
    #: further connections while those are busy
    db_max_overflow: int = _setting(4, values.whole(0))
    #: seconds to wait for a free connection
    db_pool_timeout: float = _setting(10.0, values.seconds(zero=False))
    #: seconds after which a connection is replaced by a new one
    db_pool_recycle: float = _setting(1800.0, values.seconds(zero=False))

    # -- what is run, and how -----------------------------------------------------------------------

    #: `package.module:Name` of the TaskHandler that the command line runs
    handler: str | None = _setting(None, values.text("package.module:Name", r"\w+(\.\w+)*:\w+(\.\w+)*"))
    #: `none`: in the worker's process; `process`: in a child process
    isolation: Literal["none", "process"] = _setting("none", values.word("none", "process"))
    #: messages that the broker may send ahead; more than 1 is for tasks under about 2 s
    prefetch_count: int = _setting(1, values.whole(1, 65_535))
    #: seconds that one attempt may take; 0: no limit
    task_timeout: float = _setting(0.0, values.seconds())
    #: seconds with nothing to do after which the worker exits; 0: never
    idle_timeout: float = _setting(0.0, values.seconds())
    #: seconds between two writes of a task's progress
    progress_interval: float = _setting(10.0, values.seconds())
    #: seconds that a running task gets to end after SIGTERM
    shutdown_grace: float = _setting(25.0, values.seconds())
    #: seconds for which a silent worker keeps its task
    lease_seconds: float = _setting(60.0, values.seconds(at_least=5))
    #: workers that one task may take down before it is given up as `WorkerLost`
    max_crash_count: int = _setting(3, values.whole(0))
    #: bytes of a task's message
    message_max_bytes: int = _setting(8 * 1024**2, values.byte_size)
    #: bytes of a task's result, as JSON
    result_max_bytes: int = _setting(8 * 1024**2, values.byte_size)

    #: a YAML file of recurring tasks; None: there are none
    recurring: str | None = _setting(None, values.text("the name of a file", r".+"))

    #: port on which a worker answers probes over HTTP (`/live`, `/ready`, `/started`); None: on none
    health_port: int | None = _setting(None, values.whole(1, 65_535))

    #: port on which a worker serves metrics for Prometheus over HTTP (`/metrics`); None: on none
    metrics_port: int | None = _setting(None, values.whole(1, 65_535))

    # -- retries ------------------------------------------------------------------------------------

    #: retries after the first attempt, for messages that name none
    max_retry_count: int = _setting(0, values.whole(0, MAX_RETRY_COUNT))
    #: seconds before the first retry
    retry_delay: float = _setting(60.0, values.seconds())
    #: how the delay grows from retry to retry
    retry_strategy: RetryStrategy = _setting(RetryStrategy.FIXED, values.choice(RetryStrategy))
    #: seconds; no delay is longer, unless RETRY_DELAY itself is
    retry_max_delay: float = _setting(3600.0, values.seconds())
    #: 0 to 1: the share of itself by which a delay is spread at random
    retry_jitter: float = _setting(0.0, values.fraction)

    # -- callbacks and notifications ----------------------------------------------------------------

    #: seconds that one HTTP request may take, from connect to status
    callback_timeout: float = _setting(30.0, values.seconds(zero=False))
    #: tries after the first one
    callback_retry_count: int = _setting(3, values.whole(0, 1_000))
    #: `whsec_` secrets with which requests are signed, the newest first; none: unsigned
    callback_secret: tuple[str, ...] = _setting((), values.signing_secrets, show=mask)
    #: whether callbacks go through the proxy that the environment names
    callback_use_proxy: bool = _setting(False, values.boolean)
    #: the only hosts that are called back, `*` standing for anything; none: all
    callback_allowed_hosts: tuple[str, ...] = _setting((), values.host_patterns)
    #: whether callbacks to private addresses are refused
    callback_block_private: bool = _setting(False, values.boolean)
    #: address of the Feishu bot; whoever knows it can write to the group
    feishu_webhook_url: str | None = _setting(None, values.http_url, show=mask)
    #: with which the bot's messages are signed
    feishu_secret: str | None = _setting(None, values.text("the bot's secret", r".+"), show=mask)

    # -- logs ---------------------------------------------------------------------------------------

    #: the lowest level that is written
    log_level: str = _setting("INFO", values.log_level)
    #: folder of the log files
    log_dir: str = _setting("logs", values.folder)
    #: `text` or `json`; None: text on a terminal, json elsewhere
    log_format: Literal["text", "json"] | None = _setting(None, values.word("text", "json"))
    #: bytes after which a log file is closed and the next one begun
    log_max_size: int = _setting(100 * 1000**2, values.byte_size)
    #: days after which a log file is deleted
    log_retention: float = _setting(30.0, values.days)

    #: the `.env` that was read; no setting of its own
    env_file: Path | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        for name, value in _checked({name: _argument(name, getattr(self, name)) for name in _FIELDS}).items():
            object.__setattr__(self, name, value)

    @classmethod
    def from_environment(
        cls,
        environ: Mapping[str, str] | None = None,
        start_directory: str | os.PathLike[str] | None = None,
        **overrides: Any,
    ) -> Settings:
        """Keyword arguments before the environment before the nearest `.env` before the defaults.

        Older names count where none of those gives the new one. An argument that is None
        is none. Missing settings are no error here: `require` asks for them.
        """
        environment = read_environment(environ, start_directory)
        given = _from_new_names(environment.variables) | _from_arguments(overrides)
        older, problems = read_older_names(environment.variables, wanted=set(_FIELDS) - set(given))
        _warn_of_ignored(tuple(PREFIX + name for name in _IGNORED if PREFIX + name in environment.variables))
        return cls(**_checked(older | given, problems), env_file=environment.env_file)

    @property
    def table(self) -> str:
        """The name of the table of tasks."""
        return self.table_prefix + self.table_name

    def require(self, *names: str) -> None:
        """Raise `ConfigurationError` unless these are set: of `amqp_url`, `rabbitmq_queue`, `mysql_url`."""
        missing = [name for name in names if getattr(self, _REQUIRED[name][0]) is None]
        if not missing:
            return
        wanted = [f"  {_variable(_REQUIRED[name][0])}, for example {_REQUIRED[name][1]}" for name in missing]
        read = "No .env was found" if self.env_file is None else f"{self.env_file} was read"
        raise ConfigurationError(
            "Grid异步任务插件配置错误：缺少必需的环境变量配置\n"
            f"缺少的配置项：{', '.join(missing)}\n"
            "Set in the environment, or in a .env in the working directory or above it:\n" + "\n".join(wanted) + "\n"
            f"{read}. env_example.txt describes every setting."
        )

    def __repr__(self) -> str:
        return f"Settings({', '.join(f'{name}={_shown(name, getattr(self, name))}' for name in _FIELDS)})"


#: the settings by name: whatever of `Settings` can be set
_FIELDS = {each.name: each for each in fields(Settings) if "parse" in each.metadata}


def _variable(name: str) -> str:
    return PREFIX + name.upper()


def _from_new_names(variables: Mapping[str, str]) -> dict[str, Given]:
    names = {**{PREFIX + alias: setting for alias, setting in _ALIASES.items()}, **{_variable(n): n for n in _FIELDS}}
    # a setting's own name comes last and wins over its alias
    return {setting: Given(variables[name], name) for name, setting in names.items() if name in variables}


def _from_arguments(arguments: Mapping[str, Any]) -> dict[str, Given]:
    if unknown := sorted(set(arguments) - set(_FIELDS)):
        raise TypeError(f"no such setting: {', '.join(unknown)}")
    return {name: _argument(name, value) for name, value in arguments.items() if value is not None}


def _argument(name: str, value: object) -> Given:
    return Given(value, f"{name} ({_variable(name)})")


def _checked(given: Mapping[str, Given], problems: list[str] | None = None) -> dict[str, Any]:
    """The values as what they mean; or one error with a sentence about each bad one."""
    problems = list(problems or ())
    checked: dict[str, Any] = {}
    for name, each in given.items():
        unset = each.value is None and _FIELDS[name].default is None
        try:
            checked[name] = None if unset else _FIELDS[name].metadata["parse"](each.value)
        except ValueError as allowed:
            problems.append(f"{each.name} is {_shown(name, each.value)}, but it has to be {allowed}.")
    table = checked.get("table_prefix", "") + checked.get("table_name", "")
    if len(table) > _MAX_TABLE_CHARACTERS:
        problems.append(
            f"{_variable('table_prefix')} and {_variable('table_name')} together have {len(table)} characters, "
            f"but a table's name has to have at most {_MAX_TABLE_CHARACTERS}."
        )
    if problems:
        raise ConfigurationError("\n".join(problems))
    return checked


def _shown(name: str, value: object) -> str:
    if value is None or value == ():
        return repr(value)
    shown: str = _FIELDS[name].metadata["show"](value.value if isinstance(value, Enum) else value)
    return shown if len(shown) <= _MAX_SHOWN else shown[:_MAX_SHOWN] + "..."


@cache
def _warn_of_ignored(names: tuple[str, ...]) -> None:
    """Once a process, however often the settings are read."""
    if names:
        _log.warning("%s: no longer in use, ignored", ", ".join(names))
