"""SPEC section 2, every limit."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from grid_async_task import ValidationError
from grid_async_task.domain.message import REASONS, CallbackRequest, InvalidMessage, MessageLimits, TaskMessage, Ticket
from grid_async_task.domain.message_parsing import parse_message, reply_queue
from tests.bad_bodies import BAD_BODIES

LIMITS = MessageLimits(max_bytes=100_000)


def parse(**fields: Any) -> TaskMessage:
    message = parse_message(json.dumps({"task_id": "t", **fields}).encode(), LIMITS)
    assert isinstance(message, TaskMessage)
    return message


def refused(**fields: Any) -> InvalidMessage:
    with pytest.raises(InvalidMessage) as caught:
        parse(**fields)
    return caught.value


@given(st.binary(max_size=200))
def test_any_bytes_give_a_message_or_a_validation_error(body: bytes) -> None:
    try:
        parse_message(body, LIMITS)
    except ValidationError as error:
        assert isinstance(error, InvalidMessage)
        assert error.reason in REASONS


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
FIELDS = ["task_id", "task_type", "data", "max_retry_count", "retry_count", "callback_url", "callback_type"]


@given(st.dictionaries(st.sampled_from([*FIELDS, "callback_data", "other"]), json_values))
def test_any_object_gives_a_message_or_a_validation_error(document: dict[str, Any]) -> None:
    try:
        message = parse_message(json.dumps(document).encode(), LIMITS)
    except ValidationError as error:
        assert isinstance(error, InvalidMessage)
        assert error.reason in REASONS
    else:
        assert isinstance(message, TaskMessage)
        again = parse_message(message.to_body(), LIMITS)
        assert again == message


@pytest.mark.parametrize("name", BAD_BODIES)
def test_bad_bodies_are_refused_with_their_reason(name: str) -> None:
    bad = BAD_BODIES[name]
    with pytest.raises(InvalidMessage) as caught:
        parse_message(bad.body, LIMITS)
    assert caught.value.reason == bad.reason
    assert (caught.value.salvaged is not None) == bad.has_usable_id
    assert str(caught.value).isprintable()


def test_defaults() -> None:
    assert parse() == TaskMessage("t", "default", {}, None, CallbackRequest(None, "http", {}), {})
    assert not parse().callback.is_asked


def test_null_empty_texts_and_empty_arrays_mean_absent() -> None:
    zero = {
        "task_type": "",
        "data": [],
        "max_retry_count": None,
        "callback_url": "",
        "callback_type": "",
        "callback_data": [],
    }
    assert parse(**zero) == parse()
    assert parse(**dict.fromkeys(zero)) == parse()


def test_retry_count_is_an_alias_and_max_retry_count_wins() -> None:
    assert parse(retry_count=3).max_retry_count == 3
    assert parse(retry_count=3, max_retry_count=5).max_retry_count == 5
    assert parse(retry_count=3, max_retry_count=None).max_retry_count == 3
    assert parse(retry_count=3).extra == {}


def test_unknown_fields_are_kept() -> None:
    message = parse(priority=5, trace={"id": "x"})
    assert message.extra == {"priority": 5, "trace": {"id": "x"}}
    assert message.to_dict()["priority"] == 5


@pytest.mark.parametrize("task_id", ["a", "x" * 255, "任务-1", "a b", "a/b#c", "'; drop table"])
def test_ids_that_are_fine(task_id: str) -> None:
    assert parse(task_id=task_id).task_id == task_id


def test_limits_are_inclusive() -> None:
    url = "http://h/" + "x" * 491
    fine = parse(task_type="t" * 100, callback_url=url, max_retry_count=1_000_000)
    assert (len(fine.task_type), len(fine.callback.url or ""), fine.max_retry_count) == (100, 500, 1_000_000)
    assert refused(task_type="t" * 101).reason == "task_type"
    assert refused(callback_url=url + "x").reason == "callback_url"
    assert refused(max_retry_count=1_000_001).reason == "max_retry_count"
    deep: Any = {}
    for _ in range(99):
        deep = {"a": deep}
    assert parse(data=deep).data == deep
    assert refused(data={"a": deep}).reason == "too_deep"


def test_a_body_over_the_limit_is_refused() -> None:
    body = b'{"task_id":"t"}'
    assert parse_message(body, MessageLimits(max_bytes=len(body)))
    with pytest.raises(InvalidMessage, match="MESSAGE_MAX_BYTES"):
        parse_message(body, MessageLimits(max_bytes=len(body) - 1))


def test_a_callback_is_asked_for_by_url_by_rabbitmq_alone_or_by_a_custom_type() -> None:
    limits = MessageLimits(callback_types={"http", "rabbitmq", "sms"})
    for fields, asked in [
        ({}, False),
        ({"callback_type": "http"}, False),
        ({"callback_url": "https://h/"}, True),
        ({"callback_type": "rabbitmq"}, True),
        ({"callback_type": "sms"}, True),
    ]:
        message = parse_message(json.dumps({"task_id": "t", **fields}).encode(), limits)
        assert isinstance(message, TaskMessage)
        assert message.callback.is_asked is asked
    assert refused(callback_type="sms").reason == "callback_type"


def test_the_reply_queue() -> None:
    assert reply_queue({}) == "callback_queue"
    assert reply_queue({"queue_name": ""}) == "callback_queue"
    assert reply_queue({"queue_name": "answers"}) == "answers"
    assert refused(callback_type="rabbitmq", callback_data={"queue_name": 5}).reason == "callback_data"


def test_what_is_valid_of_a_bad_message_is_salvaged() -> None:
    error = refused(data="text", task_type="report", callback_url="http://h/", callback_data={"a": 1})
    assert error.reason == "data"
    assert error.salvaged == TaskMessage("t", "report", {}, None, CallbackRequest("http://h/", "http", {"a": 1}))
    without_callback = refused(data="text", callback_url="ftp://h/").salvaged
    assert without_callback is not None
    assert not without_callback.callback.is_asked


def test_a_ticket_is_no_task() -> None:
    assert parse_message(Ticket("t").to_body(), LIMITS) == Ticket("t")
