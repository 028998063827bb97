"""Reading a task message and judging it by SPEC section 2, field by field."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from grid_async_task.domain.json_text import NotJson, to_json
from grid_async_task.domain.message import (
    DEFAULT_CALLBACK_QUEUE,
    DEFAULT_CALLBACK_TYPE,
    DEFAULT_TASK_TYPE,
    MAX_ID_CHARACTERS,
    MAX_QUEUE_NAME_BYTES,
    MAX_RETRY_COUNT,
    MAX_TYPE_CHARACTERS,
    MAX_URL_CHARACTERS,
    NO_CALLBACK,
    TICKET_FIELD,
    CallbackRequest,
    InvalidMessage,
    MessageLimits,
    TaskMessage,
    Ticket,
)

DEFAULT_LIMITS = MessageLimits()


class _Rules(NamedTuple):
    """What is not the same for every message."""

    #: None: any
    callback_types: Collection[str] | None
    #: raises `InvalidMessage` where a value, of the field of that name, is not strict JSON
    check: Callable[[Any, str], None]


_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_CALLBACK_FIELDS = frozenset({"callback_url", "callback_type", "callback_data"})
_KNOWN_FIELDS = _CALLBACK_FIELDS | {"task_id", "task_type", "data", "max_retry_count", "retry_count"}


def parse_message(body: bytes, limits: MessageLimits = DEFAULT_LIMITS) -> TaskMessage | Ticket:
    """Read the body of a delivery; any bytes give a message or raise `InvalidMessage`, and nothing else."""
    document = _read_object(body, limits.max_bytes)
    if document.get(TICKET_FIELD) is True:
        return Ticket(_task_id(document))
    return validate_message(document, limits)


def validate_message(
    document: dict[str, Any], limits: MessageLimits = DEFAULT_LIMITS, *, is_strict_json: bool = False
) -> TaskMessage:
    """Judge a decoded message by SPEC section 2; raises `InvalidMessage` with what could be salvaged.

    `is_strict_json`: the caller has had it encoded by `to_json`, so that nobody has to try once more.
    """
    task_id = _task_id(document)
    rules = _Rules(limits.callback_types, _trust if is_strict_json else _require_json)
    valid: dict[str, Any] = {}
    wrong: list[InvalidMessage] = []
    for name, judge in _FIELDS:
        try:
            valid[name] = judge(document, rules)
        except InvalidMessage as error:
            wrong.append(error)
    message = TaskMessage(task_id, **valid)
    if wrong:
        raise InvalidMessage(wrong[0].reason, str(wrong[0]), salvaged=message)
    return message


# -- bytes -> object ----------------------------------------------------------------------------------


def _read_object(body: bytes, max_bytes: int) -> dict[str, Any]:
    if not body:
        raise InvalidMessage("empty", "the body is empty; send a JSON object with a task_id")
    if len(body) > max_bytes:
        raise InvalidMessage(
            "too_large",
            f"the body has {len(body)} bytes, {max_bytes} are allowed (MESSAGE_MAX_BYTES); "
            "send a reference to the data instead of the data",
        )
    if body.startswith(b"\xac\xed\x00\x05"):
        raise InvalidMessage(
            "java_serialized",
            "the body is a serialised Java object; give the RabbitTemplate a Jackson2JsonMessageConverter bean",
        )
    if body.startswith((b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")):
        raise InvalidMessage("byte_order_mark", "the body begins with a byte order mark; send plain UTF-8 without one")
    try:
        document = json.loads(body.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise InvalidMessage("not_utf8", f"the body is not UTF-8 (at byte {error.start}); encode it as UTF-8") from None
    except RecursionError:
        raise InvalidMessage("too_deep", "the JSON is nested too deeply; 100 levels are allowed") from None
    except ValueError as error:
        raise InvalidMessage("not_json", f"the body is not JSON: {error}") from None
    if not isinstance(document, dict):
        raise InvalidMessage("not_an_object", f"the body is JSON, but {_kind(document)} and not an object")
    return document


# -- field by field -----------------------------------------------------------------------------------


def _task_id(document: dict[str, Any]) -> str:
    value = document.get("task_id")
    if value is None:
        raise InvalidMessage("task_id", "task_id is missing; it is required and unique")
    if not isinstance(value, str):
        raise InvalidMessage("task_id", f"task_id is {_kind(value)}; it must be a string")
    if not 1 <= len(value) <= MAX_ID_CHARACTERS:
        raise InvalidMessage("task_id", f"task_id has {len(value)} characters; 1 to {MAX_ID_CHARACTERS} are allowed")
    if value != value.strip():
        raise InvalidMessage("task_id", "task_id begins or ends with white space; remove it")
    _refuse_control_characters("task_id", value)
    _refuse_surrogates(value, "task_id")
    return value


def _task_type(document: dict[str, Any], _rules: _Rules) -> str:
    value = document.get("task_type")
    if value is None or value == "":
        return DEFAULT_TASK_TYPE
    if not isinstance(value, str) or len(value) > MAX_TYPE_CHARACTERS:
        raise InvalidMessage(
            "task_type", f"task_type must be a string of at most {MAX_TYPE_CHARACTERS} characters, not {_kind(value)}"
        )
    _refuse_surrogates(value, "task_type")
    return value


def _max_retry_count(document: dict[str, Any], _rules: _Rules) -> int | None:
    value = document.get("max_retry_count")
    name = "max_retry_count"
    if value is None:
        value, name = document.get("retry_count"), "retry_count"
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= MAX_RETRY_COUNT:
        raise InvalidMessage("max_retry_count", f"{name} must be a whole number from 0 to {MAX_RETRY_COUNT}")
    return value


def _data(document: dict[str, Any], rules: _Rules) -> dict[str, Any]:
    return _object(document, "data", rules)


def _object(document: dict[str, Any], name: str, rules: _Rules) -> dict[str, Any]:
    value = document.get(name)
    # PHP writes an empty object as an empty array
    if value is None or value == []:
        return {}
    if not isinstance(value, dict):
        raise InvalidMessage(name, f"{name} is {_kind(value)}; it must be an object")
    rules.check(value, name)
    return value


def _callback(document: dict[str, Any], rules: _Rules) -> CallbackRequest:
    if _CALLBACK_FIELDS.isdisjoint(document):
        return NO_CALLBACK
    kind = document.get("callback_type")
    if kind is None or kind == "":
        kind = DEFAULT_CALLBACK_TYPE
    if not isinstance(kind, str) or len(kind) > MAX_TYPE_CHARACTERS:
        raise InvalidMessage(
            "callback_type", f"callback_type must be a name of at most {MAX_TYPE_CHARACTERS} characters"
        )
    _refuse_surrogates(kind, "callback_type")
    if rules.callback_types is not None and kind not in rules.callback_types:
        served = ", ".join(sorted(rules.callback_types))
        raise InvalidMessage("callback_type", f"callback_type {kind!r} is unknown; this worker serves {served}")
    data = _object(document, "callback_data", rules)
    if kind == "rabbitmq":
        reply_queue(data)
    return CallbackRequest(_callback_url(document), kind, data)


def _callback_url(document: dict[str, Any]) -> str | None:
    value = document.get("callback_url")
    if value is None or value == "":
        return None
    if not isinstance(value, str):
        raise InvalidMessage("callback_url", f"callback_url is {_kind(value)}; it must be a string")
    if len(value) > MAX_URL_CHARACTERS:
        raise InvalidMessage(
            "callback_url", f"callback_url has {len(value)} characters; at most {MAX_URL_CHARACTERS} are allowed"
        )
    _refuse_control_characters("callback_url", value)
    _refuse_surrogates(value, "callback_url")
    try:
        parts = urlsplit(value)
        usable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0 and " " not in value
    except ValueError:
        usable = False
    if not usable:
        raise InvalidMessage("callback_url", "callback_url must be an http:// or https:// URL with a host")
    return value


def reply_queue(callback_data: dict[str, Any]) -> str:
    """The queue for a `rabbitmq` callback; raises `InvalidMessage`."""
    name = callback_data.get("queue_name")
    if name is None or name == "":
        return DEFAULT_CALLBACK_QUEUE
    if not isinstance(name, str) or len(name.encode("utf-8", "replace")) > MAX_QUEUE_NAME_BYTES:
        raise InvalidMessage(
            "callback_data", f"callback_data.queue_name must be a queue's name (at most {MAX_QUEUE_NAME_BYTES} bytes)"
        )
    return name


def _extra(document: dict[str, Any], rules: _Rules) -> dict[str, Any]:
    if _KNOWN_FIELDS.issuperset(document):
        return {}
    extra = {name: value for name, value in document.items() if name not in _KNOWN_FIELDS}
    rules.check(extra, "unknown_fields")
    return extra


_FIELDS: tuple[tuple[str, Callable[[dict[str, Any], _Rules], Any]], ...] = (
    ("task_type", _task_type),
    ("data", _data),
    ("max_retry_count", _max_retry_count),
    ("callback", _callback),
    ("extra", _extra),
)


def _trust(value: Any, name: str) -> None:
    """It was encoded before."""


def _require_json(value: Any, name: str) -> None:
    try:
        to_json(value)
    except NotJson as error:
        raise InvalidMessage(error.kind, f"{name}: {error}") from None


def _refuse_control_characters(name: str, value: str) -> None:
    if _CONTROL.search(value):
        raise InvalidMessage(name, f"{name} holds a control character; remove it")


def _refuse_surrogates(value: str, name: str) -> None:
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        raise InvalidMessage(
            "lone_surrogate", f"{name} holds half of a surrogate pair; send whole characters"
        ) from None


def _kind(value: Any) -> str:
    names = {dict: "an object", list: "an array", str: "a string", bool: "a truth value", type(None): "null"}
    return names.get(type(value), "a number")
