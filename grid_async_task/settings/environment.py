"""The variables that are set, in the environment or in the nearest `.env`."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from grid_async_task.domain.errors import ConfigurationError

#: in Kubernetes a service called `rabbitmq` or `mysql` puts one of these into every pod beside it, of the form
#: `tcp://10.0.0.1:5672`; that is nobody's setting
_MAY_BE_SERVICE_LINKS = ("RABBITMQ_PORT", "MYSQL_PORT")


@dataclass(frozen=True)
class Environment:
    """What was found. Variables without a value, and service links of Kubernetes, count as not set."""

    variables: Mapping[str, str]
    #: the file that was read, if there was one
    env_file: Path | None


def read_environment(
    environ: Mapping[str, str] | None = None, start_directory: str | os.PathLike[str] | None = None
) -> Environment:
    """The environment, and beneath it the nearest `.env` from `start_directory` (the working directory) upwards."""
    env_file = _nearest_env_file(start_directory)
    from_file = {} if env_file is None else _read_env_file(env_file)
    from_environment = _set_ones(os.environ if environ is None else environ)
    return Environment({**from_file, **from_environment}, env_file)


def _nearest_env_file(start_directory: str | os.PathLike[str] | None) -> Path | None:
    try:
        start = Path.cwd() if start_directory is None else Path(start_directory).absolute()
    except FileNotFoundError:  # the working directory was deleted
        return None
    for folder in (start, *start.parents):
        candidate = folder / ".env"
        # os.path: unlike Path it says False, and does not raise, where we may not look; a folder may be a virtualenv
        if os.path.isfile(candidate):
            return candidate
    return None


def _read_env_file(env_file: Path) -> dict[str, str]:
    from dotenv import dotenv_values  # a pod has no such file, and its cold start no use for this

    try:
        # utf-8-sig: editors on Windows put a byte order mark before the first name
        return _set_ones(dotenv_values(env_file, encoding="utf-8-sig"))
    except (OSError, UnicodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise ConfigurationError(f"{env_file} can't be read: {reason}") from None


def _set_ones(variables: Mapping[str, str | None]) -> dict[str, str]:
    return {
        name: value
        for name, value in variables.items()
        if value is not None and value.strip() and not _is_service_link(name, value)
    }


def _is_service_link(name: str, value: str) -> bool:
    return name in _MAY_BE_SERVICE_LINKS and value.strip().startswith("tcp://")
