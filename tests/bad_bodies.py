"""Bodies that can't be a task, each with the reason that its dead letter names."""

from __future__ import annotations

import json
import pickle
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class BadBody:
    body: bytes
    reason: str
    #: the failure is recorded as the task's, since the body names one
    has_usable_id: bool = False


def task(**fields: Any) -> bytes:
    return json.dumps({"task_id": "bad-one", **fields}).encode()


def raw(text: str) -> bytes:
    return text.encode()


BAD_BODIES: dict[str, BadBody] = {
    "empty": BadBody(b"", "empty"),
    "white space": BadBody(b"  \n", "not_json"),
    "not JSON": BadBody(b"hello", "not_json"),
    "cut off": BadBody(b'{"task_id":"x","data":{', "not_json"),
    "single quotes": BadBody(b"{'task_id':'x'}", "not_json"),
    "trailing comma": BadBody(b'{"task_id":"x",}', "not_json"),
    "two documents": BadBody(b'{"task_id":"x"}{"task_id":"y"}', "not_json"),
    "control character in a string": BadBody(b'{"task_id":"x\ny"}', "not_json"),
    "not UTF-8": BadBody(b'{"task_id":"\xff"}', "not_utf8"),
    "latin-1": BadBody('{"task_id":"café"}'.encode("latin-1"), "not_utf8"),
    "surrogates in UTF-8": BadBody(b'{"task_id":"\xed\xa0\x80"}', "not_utf8"),
    "UTF-16": BadBody('{"task_id":"x"}'.encode("utf-16"), "byte_order_mark"),
    "byte order mark": BadBody(b"\xef\xbb\xbf" + task(), "byte_order_mark"),
    "a pickle": BadBody(pickle.dumps({"task_id": "x"}), "not_utf8"),
    "serialised Java": BadBody(b"\xac\xed\x00\x05sr\x00\x11java.util.HashMap", "java_serialized"),
    "NUL bytes": BadBody(b"\x00" * 20, "not_json"),
    "array": BadBody(b'[{"task_id":"x"}]', "not_an_object"),
    "string": BadBody(b'"task"', "not_an_object"),
    "number": BadBody(b"42", "not_an_object"),
    "null": BadBody(b"null", "not_an_object"),
    "true": BadBody(b"true", "not_an_object"),
    "NaN alone": BadBody(b"NaN", "not_an_object"),
    "no id": BadBody(b'{"data":{}}', "task_id"),
    "null id": BadBody(b'{"task_id":null}', "task_id"),
    "empty id": BadBody(b'{"task_id":""}', "task_id"),
    "integer id": BadBody(b'{"task_id":7}', "task_id"),
    "true as id": BadBody(b'{"task_id":true}', "task_id"),
    "list as id": BadBody(b'{"task_id":["x"]}', "task_id"),
    "blank around the id": BadBody(b'{"task_id":" x"}', "task_id"),
    "NUL in the id": BadBody(b'{"task_id":"a\\u0000b"}', "task_id"),
    "id too long": BadBody(task(task_id="x" * 256), "task_id"),
    "lone surrogate in the id": BadBody(b'{"task_id":"\\ud800"}', "lone_surrogate"),
    "too deep for the parser": BadBody(b'{"task_id":"x","data":' + b"[" * 100_000 + b"]" * 100_000, "too_large"),
    "99,000 brackets": BadBody(b"[" * 99_000, "too_deep"),
    "type is a number": BadBody(task(task_type=5), "task_type", True),
    "type is a list": BadBody(task(task_type=["a"]), "task_type", True),
    "type too long": BadBody(task(task_type="t" * 101), "task_type", True),
    "data is a string": BadBody(task(data="text"), "data", True),
    "data is a number": BadBody(task(data=0), "data", True),
    "data is false": BadBody(task(data=False), "data", True),
    "data is a list": BadBody(task(data=[1]), "data", True),
    "data too deep": BadBody(raw('{"task_id":"bad-one","data":' + '{"a":' * 101 + "1" + "}" * 102), "too_deep", True),
    "NaN in data": BadBody(raw('{"task_id":"bad-one","data":{"x":NaN}}'), "number_out_of_range", True),
    "Infinity in data": BadBody(raw('{"task_id":"bad-one","data":{"x":-Infinity}}'), "number_out_of_range", True),
    "1e400 in data": BadBody(raw('{"task_id":"bad-one","data":{"x":1e400}}'), "number_out_of_range", True),
    "lone surrogate in data": BadBody(raw('{"task_id":"bad-one","data":{"x":"\\udfff"}}'), "lone_surrogate", True),
    "lone surrogate as a key": BadBody(raw('{"task_id":"bad-one","data":{"\\ud800":1}}'), "lone_surrogate", True),
    "NaN in an unknown field": BadBody(raw('{"task_id":"bad-one","x":NaN}'), "number_out_of_range", True),
    "retries as text": BadBody(task(max_retry_count="3"), "max_retry_count", True),
    "retries as a fraction": BadBody(task(max_retry_count=3.5), "max_retry_count", True),
    "retries as true": BadBody(task(max_retry_count=True), "max_retry_count", True),
    "negative retries": BadBody(task(max_retry_count=-1), "max_retry_count", True),
    "too many retries": BadBody(task(retry_count=1_000_001), "max_retry_count", True),
    "URL is a number": BadBody(task(callback_url=1), "callback_url", True),
    "URL of another scheme": BadBody(task(callback_url="ftp://example.test/"), "callback_url", True),
    "URL without a host": BadBody(task(callback_url="http:///x"), "callback_url", True),
    "URL too long": BadBody(task(callback_url="http://h/" + "x" * 500), "callback_url", True),
    "line break in the URL": BadBody(task(callback_url="http://h/\r\nX: y"), "callback_url", True),
    "port out of range": BadBody(task(callback_url="http://h:99999/"), "callback_url", True),
    "unknown callback type": BadBody(task(callback_type="carrier pigeon"), "callback_type", True),
    "callback type is a number": BadBody(task(callback_type=1), "callback_type", True),
    "callback data is text": BadBody(task(callback_data="x"), "callback_data", True),
    "reply queue is a number": BadBody(
        task(callback_type="rabbitmq", callback_data={"queue_name": 1}), "callback_data", True
    ),
}
