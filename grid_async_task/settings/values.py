"""From text to value. A parser takes text, or a value that is right already, and gives the value.

What it can't take it refuses with a `ValueError` whose text completes the sentence
"it has to be ...".
"""

from __future__ import annotations

import base64
import binascii
import math
import os
import re
from collections.abc import Callable, Iterable
from enum import Enum
from pathlib import Path
from typing import Any, TypeAlias, TypeVar
from urllib.parse import urlsplit

Parser: TypeAlias = Callable[[Any], Any]
E_ = TypeVar("E_", bound=Enum)

#: ten years: no setting means more, and times computed with it stay within what clocks and databases can hold
MAX_SECONDS = 315_360_000
#: an AMQP name has at most 255 bytes, and `<queue>.dead` is one too
MAX_QUEUE_BYTES = 250

_BYTES_PER_UNIT = {
    "": 1,
    "b": 1,
    **{unit: 1000**power for power, unit in enumerate(("kb", "mb", "gb", "tb"), 1)},
    **{unit: 1024**power for power, unit in enumerate(("kib", "mib", "gib", "tib"), 1)},
}
_DAYS_PER_UNIT = {"": 1.0, "hour": 1 / 24, "h": 1 / 24, "day": 1.0, "d": 1.0, "week": 7.0, "w": 7.0, "month": 30.0}
_AMOUNT = re.compile(r"(\d+(?:\.\d+)?)\s*([a-z]*)")
#: the first two are names of the standard library, the others were levels of the reference's logging library
_LEVEL_ALIASES = {"WARN": "WARNING", "FATAL": "CRITICAL", "TRACE": "DEBUG", "SUCCESS": "INFO"}
_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")


def text(allowed: str, pattern: str) -> Parser:
    """Text that matches the pattern as a whole."""
    matches = re.compile(pattern).fullmatch

    def parse(value: Any) -> str:
        if not isinstance(value, str) or not matches(value.strip()):
            raise ValueError(allowed)
        return value.strip()

    return parse


def whole(lowest: int, highest: int | None = None) -> Parser:
    """A whole number within limits."""
    allowed = f"a whole number, {lowest} or more" if highest is None else f"a whole number from {lowest} to {highest}"

    def parse(value: Any) -> int:
        number = _number(value, int, allowed)
        if number < lowest or (highest is not None and number > highest):
            raise ValueError(allowed)
        return int(number)

    return parse


def seconds(*, zero: bool = True, at_least: float = 0) -> Parser:
    """A duration. `zero`: 0 is allowed too."""
    least = f"{at_least:g} or more" if at_least or zero else "more than 0"
    allowed = f"a number of seconds, {least}, at most {MAX_SECONDS}"

    def parse(value: Any) -> float:
        number = _number(value, float, allowed)
        if not math.isfinite(number) or not at_least <= number <= MAX_SECONDS or (number == 0 and not zero):
            raise ValueError(allowed)
        return float(number)

    return parse


def fraction(value: Any) -> float:
    """A share of something, 0 to 1."""
    allowed = "a number from 0 to 1"
    number = _number(value, float, allowed)
    if not 0 <= number <= 1:  # also refuses NaN
        raise ValueError(allowed)
    return float(number)


def boolean(value: Any) -> bool:
    """The usual words for yes and no, in any case."""
    if isinstance(value, bool):
        return value
    match str(value).strip().lower():
        case "true" | "1" | "yes" | "on":
            return True
        case "false" | "0" | "no" | "off":
            return False
    raise ValueError("true or false (or 1, 0, yes, no, on, off)")


def choice(kind: type[E_]) -> Parser:
    """One of an enum's values, in any case."""
    allowed = _one_of(str(member.value) for member in kind)

    def parse(value: Any) -> E_:
        wanted = value.value if isinstance(value, kind) else str(value).strip().lower()
        for member in kind:
            if member.value == wanted:
                return member
        raise ValueError(allowed)

    return parse


def word(*words: str) -> Parser:
    """One of these words, in any case."""

    def parse(value: Any) -> str:
        wanted = str(value).strip().lower()
        if wanted not in words:
            raise ValueError(_one_of(words))
        return wanted

    return parse


def log_level(value: Any) -> str:
    """The name of a level, as `logging` has it."""
    level = str(value).strip().upper()
    level = _LEVEL_ALIASES.get(level, level)
    if level not in _LEVELS:
        raise ValueError(_one_of(_LEVELS))
    return level


def byte_size(value: Any) -> int:
    """Bytes: `8 MiB` (1024), `100 MB` (1000) or a plain number."""
    allowed = "a number of bytes, 1 or more, or one with a unit such as 100 MB or 8 MiB"
    size = int(_amount(value, _BYTES_PER_UNIT, allowed))
    if size < 1:
        raise ValueError(allowed)
    return size


def days(value: Any) -> float:
    """Days: `30 days`, `12 hours`, `2 weeks`, `1 month` (of 30 days) or a plain number."""
    allowed = "a number of days, more than 0, such as 30 days (or hours, weeks, months)"
    number = _amount(value, _DAYS_PER_UNIT, allowed)
    if number <= 0 or number * 86_400 > MAX_SECONDS:
        raise ValueError(allowed)
    return number


def queue_name(value: Any) -> str:
    """A name that an AMQP queue, and the dead letter queue beside it, can have."""
    allowed = f"a queue's name: 1 to {MAX_QUEUE_BYTES} bytes, no control characters"
    name = value.strip() if isinstance(value, str) else ""
    if not name or not name.isprintable() or len(name.encode("utf-8", "replace")) > MAX_QUEUE_BYTES:
        raise ValueError(allowed)
    return name


def host_patterns(value: Any) -> tuple[str, ...]:
    """Host names, separated by commas, `*` standing for anything; lower case."""
    allowed = "host names separated by commas, such as api.example.com,*.svc.cluster.local (no http://)"
    hosts = tuple(host.strip().lower() for host in _parts(value, ",", allowed) if host.strip())
    if not all(re.fullmatch(r"[\w.*:\[\]-]+", host) for host in hosts):
        raise ValueError(allowed)
    return hosts


def signing_secrets(value: Any) -> tuple[str, ...]:
    """Secrets of the Standard Webhooks convention, separated by white space or commas."""
    allowed = "whsec_ and base64 (the whsec_ may be left out); several are separated by white space"
    secrets = tuple(secret for secret in _parts(value, r"[\s,]+", allowed) if secret)
    if not all(_is_signing_secret(secret) for secret in secrets):
        raise ValueError(allowed)
    return secrets


def folder(value: Any) -> str:
    """A path, which need not exist."""
    path = os.fspath(value).strip() if isinstance(value, (str, Path)) else ""
    if not path or "\0" in path:
        raise ValueError("a folder")
    return path


def http_url(value: Any) -> str:
    """An address to post to."""
    address = str(value).strip()
    try:
        parts = urlsplit(address)
    except ValueError:
        parts = urlsplit("")
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("an http:// or https:// address")
    return address


def _is_signing_secret(secret: str) -> bool:
    try:
        return bool(base64.b64decode(secret.removeprefix("whsec_"), validate=True))
    except (binascii.Error, ValueError):
        return False


def _parts(value: Any, separator: str, allowed: str) -> list[str]:
    if isinstance(value, str):
        return re.split(separator, value)
    if not isinstance(value, (list, tuple)) or not all(isinstance(part, str) for part in value):
        raise ValueError(allowed)
    return list(value)


def _number(value: Any, kind: type[int] | type[float], allowed: str) -> int | float:
    if isinstance(value, bool) or not isinstance(value, (str, int) if kind is int else (str, int, float)):
        raise ValueError(allowed)
    try:
        return kind(value)
    except (ValueError, OverflowError):
        raise ValueError(allowed) from None


def _amount(value: Any, units: dict[str, float] | dict[str, int], allowed: str) -> float:
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return value if math.isfinite(value) else 0
    parts = _AMOUNT.fullmatch(str(value).strip().lower())
    if parts is None:
        raise ValueError(allowed)
    number, unit = parts.groups()
    factor = units.get(unit, units.get(unit.removesuffix("s")))
    if factor is None:
        raise ValueError(allowed)
    return float(number) * factor


def _one_of(words: Iterable[str]) -> str:
    *first, last = words
    return f"{', '.join(first)} or {last}"
