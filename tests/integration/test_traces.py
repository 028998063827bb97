"""One trace from a producer over a worker to a callback: real servers, the SDK with an exporter in memory."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pika
import pytest
from opentelemetry import baggage, context, trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode
from opentelemetry.util._once import Once
from sqlalchemy import create_engine

from grid_async_task import Discard, Retry, Settings, TaskHandler, TaskProcessor, TaskProducer, adapter_choice
from grid_async_task.adapters.memory import FakeClock, MemoryBroker
from grid_async_task.adapters.memory.broker import MemoryMessagePublisher
from grid_async_task.adapters.sql import SqlTaskRepository
from grid_async_task.ports import NO_OBSERVER, BrokerUnavailable, Observer, OutgoingMessage
from tests.servers.http_receiver import HttpReceiver
from tests.servers.rabbitmq import new_queue_name
from tests.worker_process import WorkerProcess

#: a trace that some other program has begun
THEIR_TRACE, THEIR_SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
TRACEPARENT = f"00-{THEIR_TRACE}-{THEIR_SPAN}-01"


@pytest.fixture
def spans() -> Iterator[Callable[[], list[ReadableSpan]]]:
    """The application has set OpenTelemetry up. The spans that have ended, in that order."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    trace.set_tracer_provider(provider)
    assert trace.get_tracer_provider() is provider
    yield lambda: list(exporter.get_finished_spans())
    provider.shutdown()
    # the API lets it be set only once a process; the next test is to find it as a fresh program does
    trace._TRACER_PROVIDER = None
    trace._TRACER_PROVIDER_SET_ONCE = Once()


@dataclass
class Site:
    settings: Settings

    def publish(self, body: bytes, **headers: Any) -> None:
        with self.channel() as channel:
            channel.queue_declare(str(self.settings.queue), durable=True)
            channel.basic_publish("", str(self.settings.queue), body, pika.BasicProperties(headers=headers or None))

    def take(self, queue: str) -> pika.BasicProperties:
        with self.channel() as channel:
            _, properties, _ = channel.basic_get(queue, auto_ack=True)
            assert properties is not None
            return properties

    @contextmanager
    def channel(self) -> Iterator[Any]:
        with pika.BlockingConnection(pika.URLParameters(str(self.settings.amqp_url))) as connection:
            yield connection.channel()

    def work(self, handler: TaskHandler) -> None:
        """Until nothing is left to do."""
        TaskProcessor(handler, settings=self.settings).start()

    def log(self) -> list[dict[str, Any]]:
        lines = [line for file in Path(self.settings.log_dir).glob("*.log") for line in file.read_text().splitlines()]
        return [json.loads(line) for line in lines]


@pytest.fixture
def site(amqp_url: str, mysql_url: str, tmp_path: Path) -> Site:
    return Site(
        Settings(
            amqp_url=amqp_url, queue=new_queue_name(), mysql_url=mysql_url, idle_timeout=1.5, log_dir=str(tmp_path)
        )
    )


class Doing(TaskHandler):
    """Each execution does the next of these, in a span of its own."""

    def __init__(self, *what: Any) -> None:
        self.what = list(what)
        self.baggage: list[object] = []

    def execute(self, task_data: dict[str, Any]) -> Any:
        with trace.get_tracer("application").start_as_current_span("its own work"):
            self.baggage.append(baggage.get_baggage("tenant"))
            does = self.what.pop(0) if self.what else None
            if isinstance(does, BaseException):
                raise does
            return {}


def trace_id(span: ReadableSpan) -> str:
    return trace.format_trace_id(span.context.trace_id)


def named(spans: Sequence[ReadableSpan], name: str) -> list[ReadableSpan]:
    return [span for span in spans if span.name == name]


def parent_of(span: ReadableSpan, among: Sequence[ReadableSpan]) -> str | None:
    return next((each.name for each in among if span.parent and each.context.span_id == span.parent.span_id), None)


def test_from_the_producer_to_the_callback(site: Site, spans: Any) -> None:
    site.settings = replace(site.settings, idle_timeout=7)  # the retry comes after a second
    queue = site.settings.queue
    with HttpReceiver() as receiver:
        with TaskProducer(settings=site.settings) as producer:
            token = context.attach(baggage.set_baggage("tenant", "blue"))
            with trace.get_tracer("application").start_as_current_span("web request"):
                task = {"task_type": "report", "max_retry_count": 1, "callback_url": receiver.url + "?key=secret"}
                producer.send_task(task, "t")
            context.detach(token)
        handler = Doing(Retry(after=1))
        site.work(handler)
        (request,) = receiver.requests
    done = spans()
    assert len({trace_id(span) for span in done}) == 1
    assert [(span.name, span.kind, parent_of(span, done)) for span in done] == [
        (f"send {queue}", SpanKind.PRODUCER, "web request"),
        ("web request", SpanKind.INTERNAL, None),
        ("its own work", SpanKind.INTERNAL, f"process {queue}"),
        (f"process {queue}", SpanKind.CONSUMER, f"send {queue}"),
        ("its own work", SpanKind.INTERNAL, f"process {queue}"),
        (f"process {queue}", SpanKind.CONSUMER, f"send {queue}"),
        ("POST", SpanKind.CLIENT, f"send {queue}"),
    ]
    first, second = named(done, f"process {queue}")
    assert first.status.status_code is StatusCode.ERROR
    assert first.attributes is not None
    assert second.attributes is not None
    assert (first.attributes["error.type"], first.attributes["grid_async_task.outcome"]) == ("Retry", "retry")
    assert second.status.status_code is StatusCode.UNSET
    assert dict(second.attributes) == {
        "messaging.system": "rabbitmq",
        "messaging.operation.name": "process",
        "messaging.operation.type": "process",
        "messaging.destination.name": queue,
        "messaging.rabbitmq.destination.routing_key": queue,
        "messaging.message.id": "t",
        "grid_async_task.task.id": "t",
        "grid_async_task.task.type": "report",
        "grid_async_task.task.attempt": 2,
        "grid_async_task.outcome": "success",
    }
    assert handler.baggage == ["blue", "blue"]
    # the receiver
    (post,) = named(done, "POST")
    version, its_trace, its_span, _ = request.headers["traceparent"].split("-")
    assert (version, its_trace) == ("00", trace_id(post))
    assert its_span == trace.format_span_id(post.context.span_id)
    assert "baggage" not in request.headers
    assert post.attributes is not None
    assert (post.attributes["server.address"], post.attributes["server.port"]) == ("127.0.0.1", receiver.port)
    assert "secret" not in str([dict(span.attributes or {}) for span in done])
    # the log
    ids = {(line["event"], line["attempt"]): line.get("span_id") for line in site.log() if "attempt" in line}
    assert ids["attempt failed", 1] == ids["task claimed", 1] == trace.format_span_id(first.context.span_id)
    assert ids["task succeeded", 2] == trace.format_span_id(second.context.span_id)
    assert {line["trace_id"] for line in site.log() if "trace_id" in line} == {trace_id(first)}


def test_a_task_of_a_transaction_belongs_to_the_trace_that_enqueued_it(site: Site, spans: Any) -> None:
    repository = SqlTaskRepository(str(site.settings.mysql_url))
    repository.prepare()
    repository.close()
    engine = create_engine(str(site.settings.mysql_url))
    request = trace.get_tracer("application").start_as_current_span("web request")
    with TaskProducer(settings=site.settings) as producer, engine.begin() as connection, request:
        producer.enqueue(connection, {}, "t")
    engine.dispose()
    site.work(Doing())
    done, queue = spans(), site.settings.queue
    assert [(span.name, parent_of(span, done)) for span in done] == [
        (f"send {queue}", "web request"),
        ("web request", None),
        ("its own work", f"process {queue}"),
        (f"process {queue}", f"send {queue}"),
    ]


def test_a_reply_queue_gets_it_in_a_header(site: Site, spans: Any) -> None:
    replies = new_queue_name()
    body = {"task_id": "t", "callback_type": "rabbitmq", "callback_data": {"queue_name": replies}}
    site.publish(json.dumps(body).encode(), traceparent=TRACEPARENT, tracestate="vendor=1")
    site.work(Doing())
    headers = site.take(replies).headers
    (sent,) = named(spans(), f"send {replies}")
    assert sent.kind is SpanKind.PRODUCER
    assert headers["traceparent"] == f"00-{THEIR_TRACE}-{trace.format_span_id(sent.context.span_id)}-01"
    assert headers["tracestate"] == "vendor=1"


def test_messages_without_a_trace_begin_one_each(site: Site, spans: Any) -> None:
    site.publish(b'{"task_id": "none"}')
    site.publish(b'{"task_id": "broken"}', traceparent="00-of no form-01")
    site.publish(b'{"task_id": "of another type"}', traceparent=17, tracestate=True, baggage=["x"])
    site.publish(b'{"task_id": "theirs"}', traceparent=TRACEPARENT)
    with trace.get_tracer("application").start_as_current_span("around the worker"):
        site.work(Doing(None, Discard("no")))
    processed = named(spans(), f"process {site.settings.queue}")
    assert len({trace_id(span) for span in processed}) == 4
    assert [span.parent is None for span in processed] == [True, True, True, False]
    assert trace_id(processed[-1]) == THEIR_TRACE
    assert [span.status.status_code.name for span in processed] == ["UNSET", "ERROR", "UNSET", "UNSET"]


def test_a_batch_has_a_span_for_each_message_and_one_for_all(site: Site, spans: Any) -> None:
    with TaskProducer(settings=site.settings) as producer:
        producer.batch_send_tasks([{"data": {}}, {"data": {}}])
    site.work(Doing())
    queue = site.settings.queue
    created, (sent,) = named(spans(), f"create {queue}"), named(spans(), f"send {queue}")
    assert [span.kind for span in created] == [SpanKind.PRODUCER] * 2
    assert [link.context for link in sent.links] == [span.context for span in created]
    assert sent.kind is SpanKind.CLIENT
    assert sent.attributes is not None
    assert sent.attributes["messaging.batch.message_count"] == 2
    processed = named(spans(), f"process {queue}")
    assert [span.parent and span.parent.span_id for span in processed] == [span.context.span_id for span in created]


class Refusing(MemoryMessagePublisher):
    def publish_many(self, messages: Sequence[OutgoingMessage]) -> list[Exception | None]:
        return [BrokerUnavailable("amqp://user:password@broker is away") for _ in messages]


def test_what_could_not_be_sent_says_so_without_a_word_of_the_error(spans: Any) -> None:
    settings = Settings(amqp_url="memory://", queue="q")
    publisher = Refusing(MemoryBroker(FakeClock()))
    producer = TaskProducer(record_pending=False, settings=settings, publisher=publisher)
    with producer, pytest.raises(BrokerUnavailable):
        producer.send_task({})
    (span,) = spans()
    assert span.status.status_code is StatusCode.ERROR
    assert span.attributes["error.type"] == "BrokerUnavailable"
    assert "password" not in span.to_json()


def test_without_a_set_up_what_came_is_handed_on(site: Site) -> None:
    with HttpReceiver() as receiver:
        body = json.dumps({"task_id": "t", "callback_url": receiver.url}).encode()
        site.publish(body, traceparent=TRACEPARENT, baggage="tenant=blue")
        site.work(Doing())
        (request,) = receiver.requests
    assert request.headers["traceparent"] == TRACEPARENT
    (claimed,) = [line for line in site.log() if line["event"] == "task claimed"]
    assert (claimed["trace_id"], claimed["span_id"]) == (THEIR_TRACE, THEIR_SPAN)


def test_the_program_sends_traces_to_where_the_environment_says(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = [sys.executable, "-m", "grid_async_task.cli", "worker", "--handler", "tests.handlers:Diary"]
    with HttpReceiver() as collector:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{collector.port}")
        site.publish(b'{"task_id": "t"}', traceparent=TRACEPARENT)
        settings = {name: getattr(site.settings, name) for name in ("amqp_url", "queue", "mysql_url", "idle_timeout")}
        with WorkerProcess(tmp_path, command=command, **settings) as worker:
            assert worker.ended() == 0, worker.log()
        (request,) = collector.requests
    assert request.path == "/v1/traces"
    assert f"process {site.settings.queue}".encode() in request.body
    assert bytes.fromhex(THEIR_TRACE) in request.body
    assert b"grid-async-task" in request.body, "the service's name"


def test_the_program_says_which_protocol_it_speaks(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4317")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
    command = [sys.executable, "-m", "grid_async_task.cli", "worker", "--handler", "tests.handlers:Diary"]
    settings = {name: getattr(site.settings, name) for name in ("amqp_url", "queue", "mysql_url")}
    with WorkerProcess(tmp_path, command=command, **settings) as worker:
        assert worker.ended() == 2
    assert "OTEL_EXPORTER_OTLP_PROTOCOL is grpc, but only http/protobuf is spoken" in worker.log()


def test_traces_can_be_switched_off_as_the_sdk_is(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Settings(amqp_url="memory://", queue="q", mysql_url="memory://")
    assert adapter_choice.open_observer(settings) is not NO_OBSERVER
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    assert adapter_choice.open_observer(settings) is NO_OBSERVER
    assert isinstance(adapter_choice.open_observer(replace(settings, metrics_port=9464)), Observer)
