"""The older variable names, which are read where the new ones are absent.

RABBITMQ_* and MYSQL_* are groups: as soon as one name of a group is set, the others have
defaults.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from grid_async_task.settings.urls import join_url
from grid_async_task.settings.values import whole

_RABBITMQ_DEFAULTS = {
    "RABBITMQ_HOST": "localhost",
    "RABBITMQ_PORT": "5672",
    "RABBITMQ_USERNAME": "guest",
    "RABBITMQ_PASSWORD": "guest",
    "RABBITMQ_VHOST": "/",
    "RABBITMQ_QUEUE": "task_queue",
}
_MYSQL_DEFAULTS = {
    "MYSQL_HOST": "localhost",
    "MYSQL_PORT": "3306",
    "MYSQL_DATABASE": "task_db",
    "MYSQL_USERNAME": "root",
    "MYSQL_PASSWORD": "password",
}
#: each of these stands for itself
_SAME_MEANING = {"feishu_webhook_url": "FEISHU_WEBHOOK_URL", "log_level": "LOG_LEVEL", "log_dir": "LOG_DIR"}


@dataclass(frozen=True)
class Given:
    """A value for a setting, and under which name somebody gave it."""

    value: object
    name: str


def read_older_names(variables: Mapping[str, str], wanted: set[str]) -> tuple[dict[str, Given], list[str]]:
    """Values for those wanted settings that older names give, and sentences about bad ports."""
    given: dict[str, Given] = {}
    problems: list[str] = []
    for setting, name in _SAME_MEANING.items():
        if name in variables:
            given[setting] = Given(variables[name], name)
    if rabbitmq := _group(variables, _RABBITMQ_DEFAULTS):
        given["queue"] = Given(rabbitmq["RABBITMQ_QUEUE"], "RABBITMQ_QUEUE")
        if "amqp_url" in wanted:
            _add_url(given, problems, "amqp_url", "amqp", "RABBITMQ", rabbitmq, rabbitmq["RABBITMQ_VHOST"])
    if (mysql := _group(variables, _MYSQL_DEFAULTS)) and "mysql_url" in wanted:
        _add_url(given, problems, "mysql_url", "mysql+pymysql", "MYSQL", mysql, mysql["MYSQL_DATABASE"])
    return {setting: value for setting, value in given.items() if setting in wanted}, problems


def _group(variables: Mapping[str, str], defaults: Mapping[str, str]) -> dict[str, str] | None:
    """The group's values, defaults filled in; None where none of its names is set."""
    present = {name: variables[name] for name in defaults if name in variables}
    return {**defaults, **present} if present else None


def _add_url(
    given: dict[str, Given],
    problems: list[str],
    setting: str,
    scheme: str,
    prefix: str,
    group: Mapping[str, str],
    path: str,
) -> None:
    port = group[f"{prefix}_PORT"]
    try:
        url = join_url(
            scheme,
            user=group[f"{prefix}_USERNAME"],
            password=group[f"{prefix}_PASSWORD"],
            host=group[f"{prefix}_HOST"].strip(),
            port=whole(1, 65535)(port),
            path=path,
        )
    except ValueError as allowed:
        problems.append(f"{prefix}_PORT is {port!r}, but it has to be {allowed}.")
    else:
        given[setting] = Given(url, f"The address put together from {prefix}_*")
