"""The documents of `schema` say what the parser and the writers of the wire formats really do."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from grid_async_task.cli.program import run
from grid_async_task.domain.callback import callback_of
from grid_async_task.domain.failure import CANCELLED, Failure
from grid_async_task.domain.message import CallbackRequest, InvalidMessage, MessageLimits, TaskMessage, Ticket
from grid_async_task.domain.message_parsing import parse_message
from grid_async_task.domain.outcome import Failed, Outcome, RetryLater, Succeeded
from grid_async_task.domain.progress import Progress
from grid_async_task.domain.task import Task
from grid_async_task.protocol import DOCUMENTS
from grid_async_task.protocol.message_schema import BEYOND_SCHEMA
from tests.bad_bodies import BAD_BODIES

WRITTEN = Path(__file__).parents[2] / "docs" / "protocol"
NOW = datetime(2024, 1, 15, 10, 30, tzinfo=timezone.utc)
#: any sink's name will do, as for the schema
ANY_SINK = MessageLimits(callback_types=None)

#: bad bodies that a schema takes for good, and the word of `BEYOND_SCHEMA` that says why
NOT_EXPRESSIBLE = {
    "too deep for the parser": "depth",
    "data too deep": "depth",
    "1e400 in data": "numbers",
    "lone surrogate in the id": "surrogates",
    "lone surrogate in data": "surrogates",
    "lone surrogate as a key": "surrogates",
    "unknown callback type": "callback types",
}

GOOD = {
    "the id alone": {"task_id": "x"},
    "every field": {
        "task_id": "任务-1",
        "task_type": "report",
        "data": {"deep": [{"er": 1.5}]},
        "max_retry_count": 1_000_000,
        "retry_count": 2,
        "callback_url": "HTTPS://user:pw@example.com:8443/a?b=c#d",
        "callback_type": "rabbitmq",
        "callback_data": {"queue_name": "replies"},
        "unknown": [1, None],
    },
    "nothing but null": {
        "task_id": "x",
        **dict.fromkeys(
            ("task_type", "data", "max_retry_count", "retry_count", "callback_url", "callback_type", "callback_data")
        ),
    },
    "Go's zero values": {"task_id": "x", "task_type": "", "callback_url": "", "callback_type": "", "data": {}},
    "PHP's empty arrays": {"task_id": "x", "data": [], "callback_data": []},
    "the alias does not count beside the name": {"task_id": "x", "max_retry_count": 1, "retry_count": "many"},
    "a sink of its own": {"task_id": "x", "callback_type": "sms", "callback_data": {"queue_name": 5}},
    "the longest id": {"task_id": "𝄞" * 255},
    "an id with blanks inside": {"task_id": "a b"},
    "an IPv6 address": {"task_id": "x", "callback_url": "http://[::1]:80/"},
    "the largest port": {"task_id": "x", "callback_url": "http://h:65535"},
    "no path but a query": {"task_id": "x", "callback_url": "http://h?a=1"},
    "the default reply queue": {"task_id": "x", "callback_type": "rabbitmq", "callback_data": {"queue_name": None}},
    "no ticket": {"task_id": "x", "grid_async_task_ticket": False},
}

NEARLY_GOOD = {
    "a line break after the id": {"task_id": "x\n"},
    "a no-break space around the id": {"task_id": "x\u00a0"},
    "port 65536": {"task_id": "x", "callback_url": "http://h:65536/"},
    "port 0": {"task_id": "x", "callback_url": "http://h:0/"},
    "a port in words": {"task_id": "x", "callback_url": "http://h:http/"},
    "a blank in the URL": {"task_id": "x", "callback_url": "http://h/a b"},
    "a URL with a user and no host": {"task_id": "x", "callback_url": "http://user@:80/"},
    "a URL without slashes": {"task_id": "x", "callback_url": "http:h"},
    "a bad alias": {"task_id": "x", "max_retry_count": None, "retry_count": -1},
    "a reply queue with too long a name": {
        "task_id": "x",
        "callback_type": "rabbitmq",
        "callback_data": {"queue_name": "q" * 256},
    },
    "a ticket": {"task_id": "x", "grid_async_task_ticket": True},
}


def validator(name: str) -> jsonschema.Draft7Validator:
    return jsonschema.Draft7Validator(DOCUMENTS[name].make())


def is_task(body: bytes) -> bool:
    """The parser's answer."""
    try:
        return isinstance(parse_message(body, ANY_SINK), TaskMessage)
    except InvalidMessage:
        return False


def fits_the_schema(body: bytes) -> bool:
    """The answer of who decodes the body as the JSON standard says, and asks the schema."""
    try:
        document = json.loads(body.decode(), parse_constant=_refuse)
    except (ValueError, RecursionError):
        return False
    return validator("message").is_valid(document)


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is not JSON")


# -- the message ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(set(BAD_BODIES) - set(NOT_EXPRESSIBLE)))
def test_the_schema_refuses_what_a_worker_refuses(name: str) -> None:
    assert not fits_the_schema(BAD_BODIES[name].body)


def test_what_a_schema_can_not_express_is_said_in_it() -> None:
    comment = DOCUMENTS["message"].make()["$comment"]
    for name, why in NOT_EXPRESSIBLE.items():
        assert BEYOND_SCHEMA[why] in comment
        # an entry that the schema has learned to refuse has to leave the list; only Python's own reader is too flat
        assert fits_the_schema(BAD_BODIES[name].body) or name == "too deep for the parser"


@pytest.mark.parametrize("name", GOOD)
def test_both_take_what_is_good(name: str) -> None:
    body = json.dumps(GOOD[name]).encode()
    assert is_task(body)
    validator("message").validate(json.loads(body))


@pytest.mark.parametrize("name", NEARLY_GOOD)
def test_both_refuse_what_is_nearly_good(name: str) -> None:
    body = json.dumps(NEARLY_GOOD[name]).encode()
    assert (is_task(body), fits_the_schema(body)) == (False, False)


texts = st.text(st.characters(exclude_categories=("Cs",)), max_size=6)
scalars = st.one_of(st.none(), st.booleans(), st.integers(-2, 1_000_002), st.just(0.5), texts)
objects = st.one_of(scalars, st.just([]), st.just([1]), st.dictionaries(texts, scalars, max_size=2))
hosts = st.sampled_from(["h", "example.com", "", "[::1]", "user@h", "user:pw@h", "u@"])
ports = st.sampled_from(["", ":", ":1", ":65535", ":65536", ":080", ":0", ":x"])
ends = st.sampled_from(["", "/", "/a?b#c", "?q", "#f", "/ ", "/\n", "/\u00e9"])
urls = st.builds("{}{}{}{}".format, st.sampled_from(["http://", "HTTPS://", "ftp://", "http:/"]), hosts, ports, ends)


@given(
    st.fixed_dictionaries(
        {"task_id": st.one_of(texts, scalars)},
        optional={
            "task_type": st.one_of(texts, scalars),
            "data": objects,
            "max_retry_count": scalars,
            "retry_count": scalars,
            "callback_url": st.one_of(urls, st.none(), st.just("")),
            "callback_type": st.one_of(st.sampled_from(["", "http", "rabbitmq", "sms"]), scalars),
            "callback_data": st.one_of(objects, st.fixed_dictionaries({"queue_name": scalars})),
            "grid_async_task_ticket": st.one_of(st.booleans(), st.just(1)),
        },
    )
)
def test_worker_and_schema_agree_on_any_message(message: dict[str, Any]) -> None:
    body = json.dumps(message).encode()
    assert fits_the_schema(body) == is_task(body)


def test_what_is_written_here_fits() -> None:
    task = TaskMessage("x", "report", {"a": 1}, 3, CallbackRequest("http://h/", "http", {"b": 2}), {"extra": True})
    assert fits_the_schema(task.to_body())
    assert not fits_the_schema(Ticket("x").to_body())


# -- callback and progress --------------------------------------------------------------------------------


def finished(outcome: Outcome, **fields: Any) -> Task:
    task = Task.pending(TaskMessage("x", callback=CallbackRequest("http://h/", data={"order": 1})), "work", NOW)
    running = task.claimed("me", NOW, 60, 3, crashed=False)
    return running.settled(outcome, NOW, fields.get("progress"))


ENDS = {
    "success": Succeeded({"pages": 1}),
    "nothing returned": Succeeded({}),
    "failure": Failed(Failure.of(ValueError("no"))),
    "retries used up": Failed(Failure.of(ValueError("no")).exhausted()),
    "cancelled": Failed(CANCELLED),
}


@pytest.mark.parametrize("end", ENDS)
def test_callbacks_fit_their_schema_and_it_names_each_of_their_fields(end: str) -> None:
    callback = json.loads(callback_of(finished(ENDS[end])).body)
    validator("callback").validate(callback)
    assert list(callback) == list(validator("callback").schema["properties"])


@pytest.mark.parametrize(
    "wrong",
    [
        {"status": "running"},
        {"result": None},
        {"timestamp": "2024-01-15T10:30:00.5Z"},
        {"timestamp": "2024-01-15T10:30:00+00:00"},
        {"status": "failed", "result": {"error": "no type"}},
        {"callback_data": None},
        {"task_id": ""},
    ],
)
def test_the_callback_schema_refuses(wrong: dict[str, Any]) -> None:
    good = json.loads(callback_of(finished(ENDS["success"])).body)
    assert validator("callback").is_valid(good)
    assert not validator("callback").is_valid(good | wrong)


def stages() -> Iterator[Task]:
    pending = Task.pending(TaskMessage("x"), "work", NOW)
    running = pending.claimed("me", NOW, 60, 3, crashed=False)
    yield from (pending, running)
    yield running.renewed(NOW, 60, Progress.of(1e9, "好" * 600))
    yield running.settled(RetryLater(Failure.of(ValueError("no")), 1.0), NOW, Progress.of(float("nan"), None))
    yield from (finished(ENDS["success"]), finished(ENDS["failure"]))
    yield Task("x", "work", pending.status)


def test_progress_fits_its_schema_and_it_names_each_of_its_fields() -> None:
    for task in stages():
        progress = task.progress_to_wire()
        validator("progress").validate(progress)
        assert list(progress) == list(validator("progress").schema["properties"])


@pytest.mark.parametrize("wrong", [{"progress": 101}, {"progress": 0.5}, {"status": "lost"}, {"updated_at": "today"}])
def test_the_progress_schema_refuses(wrong: dict[str, Any]) -> None:
    assert not validator("progress").is_valid(next(stages()).progress_to_wire() | wrong)


# -- the documents ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["message", "callback", "progress"])
def test_each_is_a_schema_whose_examples_fit_it(name: str) -> None:
    schema = DOCUMENTS[name].make()
    jsonschema.Draft7Validator.check_schema(schema)
    for example in schema["examples"]:
        validator(name).validate(example)


def test_asyncapi_points_at_nothing_that_is_not_there() -> None:
    document = DOCUMENTS["asyncapi"].make()
    targets = set(references(document))
    assert len(targets) > 10
    for target in targets:
        place = document
        for step in target.removeprefix("#/").split("/"):
            assert step in place, target
            place = place[step]
    assert {channel["$ref"].rsplit("/", 1)[1] for channel in _each(document["operations"], "channel")} == set(
        document["channels"]
    )


def _each(parts: dict[str, Any], name: str) -> list[Any]:
    return [part[name] for part in parts.values()]


def references(part: Any) -> Iterator[str]:
    if isinstance(part, dict):
        yield from ([part["$ref"]] if isinstance(part.get("$ref"), str) else [])
        for inner in part.values():
            yield from references(inner)
    elif isinstance(part, list):
        for inner in part:
            yield from references(inner)


def test_asyncapi_holds_the_schemas_as_they_are() -> None:
    schemas = DOCUMENTS["asyncapi"].make()["components"]["schemas"]
    for name, embedded in {"message": "task", "callback": "callback", "progress": "progress"}.items():
        assert {"$schema": DOCUMENTS[name].make()["$schema"], **schemas[embedded]} == DOCUMENTS[name].make()


def test_the_headers_in_asyncapi_are_those_in_the_code() -> None:
    messages = DOCUMENTS["asyncapi"].make()["components"]["messages"]
    package = Path(__file__).parents[2] / "grid_async_task"
    dead_letters = (package / "application" / "dead_letters.py").read_text(encoding="utf-8")
    sender = "".join(path.read_text(encoding="utf-8") for path in sorted((package / "adapters" / "http").glob("*.py")))
    for name, source in {"deadLetter": dead_letters, "webhook": sender}.items():
        headers = messages[name]["headers"]["properties"]
        assert {header for header in headers if f'"{header}": ' not in source} == set()


# -- the command ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", DOCUMENTS)
def test_docs_protocol_is_what_the_command_writes(name: str) -> None:
    kept = WRITTEN / DOCUMENTS[name].file_name
    assert kept.read_text(encoding="utf-8") == DOCUMENTS[name].text, (
        "the protocol has changed; if that was meant: grid-async-task schema --write docs/protocol"
    )


def test_the_command_prints_one_document(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["schema", "message"]) == 0
    assert capsys.readouterr().out == DOCUMENTS["message"].text
    assert run(["schema"]) == 0
    assert json.loads(capsys.readouterr().out)["asyncapi"] == "3.0.0"


def test_the_command_writes_all_or_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["schema", "--write", str(tmp_path / "all")]) == 0
    assert {file.name for file in (tmp_path / "all").iterdir()} == {each.file_name for each in DOCUMENTS.values()}
    assert run(["schema", "callback", "--write", str(tmp_path / "one")]) == 0
    assert [file.name for file in (tmp_path / "one").iterdir()] == ["callback.schema.json"]
    assert (tmp_path / "one" / "callback.schema.json").read_text(encoding="utf-8") == DOCUMENTS["callback"].text


def test_where_it_can_not_write_it_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    assert run(["schema", "--write", str(tmp_path / "file")]) == 2
    assert "can't be written" in capsys.readouterr().err
