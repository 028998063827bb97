"""A task on its way, as one trace: sent by a producer, processed by a worker, called back.

The application's own tracer provider is used, at whatever time it is set; without one there are no spans, and
what came with a message is still handed on. Spans of a handler's own are children of its attempt.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from opentelemetry import trace
from opentelemetry.context import Context, attach, detach, get_current
from opentelemetry.trace import Link, Span, SpanKind, Status, StatusCode

from grid_async_task.adapters.opentelemetry import attributes
from grid_async_task.adapters.opentelemetry.carrier import context_of, headers_for_receivers, headers_for_workers
from grid_async_task.domain.callback import Callback
from grid_async_task.domain.outcome import Crashed, Failed, Outcome, RetryLater
from grid_async_task.domain.task import Task
from grid_async_task.ports import Observer, OutgoingMessage, Publish, outcome_word


class TracingObserver(Observer):
    def __init__(self, system: str) -> None:
        """`system` is the broker, as the conventions name it."""
        self._system = system
        self._tracer = trace.get_tracer("grid_async_task")
        #: of attempts that run now, by task and attempt
        self._attempts: dict[tuple[str, int], Span] = {}

    # -- a producer ---------------------------------------------------------------------------------

    def sending(self, messages: Sequence[OutgoingMessage], publish: Publish) -> list[Exception | None]:
        return self._send_one(messages[0], publish) if len(messages) == 1 else self._send_many(messages, publish)

    def _send_one(self, message: OutgoingMessage, publish: Publish) -> list[Exception | None]:
        said = attributes.of_sending(self._system, message)
        with self._current(f"send {said['messaging.destination.name']}", SpanKind.PRODUCER, said) as span:
            errors = publish([_with(headers_for_workers(), message)])
            _mark(span, errors)
            return errors

    def _send_many(self, messages: Sequence[OutgoingMessage], publish: Publish) -> list[Exception | None]:
        """Each message has a span of its own, which its worker's is a child of; one more is for sending them all."""
        links: list[Link] = []
        traced: list[OutgoingMessage] = []
        for message in messages:
            said = attributes.of_sending(self._system, message, "create")
            name = f"create {said['messaging.destination.name']}"
            with self._current(name, SpanKind.PRODUCER, said) as span:
                links.append(Link(span.get_span_context()))
                traced.append(_with(headers_for_workers(), message))
        name = " ".join(["send", attributes.common_destination(messages) or ""]).rstrip()
        said = attributes.of_batch(self._system, messages)
        with self._current(name, SpanKind.CLIENT, said, links=links) as span:
            errors = publish(traced)
            _mark(span, errors)
            return errors

    # -- a worker -----------------------------------------------------------------------------------

    @contextmanager
    def attempt(self, task: Task, headers: Mapping[str, Any]) -> Iterator[dict[str, str]]:
        key = (task.id, task.attempt)
        said = attributes.of_attempt(self._system, task)
        with self._current(f"process {task.queue}", SpanKind.CONSUMER, said, context_of(headers)) as span:
            self._attempts[key] = span
            try:
                yield _current_ids()
            finally:
                del self._attempts[key]

    def settled(self, task: Task, outcome: Outcome) -> None:
        """Of a success in a group, which is committed later, its span has ended; it says nothing, and no error."""
        span = self._attempts.get((task.id, task.attempt))
        if span is None:
            return
        span.set_attribute(attributes.OUTCOME, outcome_word(outcome))
        if isinstance(outcome, Failed | RetryLater | Crashed):
            _fail(span, outcome.failure.error_type)

    @contextmanager
    def calling_back(self, task: Task, callback: Callback, headers: Mapping[str, Any]) -> Iterator[dict[str, str]]:
        said = attributes.of_callback(self._system, task, callback)
        name, kind = f"callback {callback.type}", SpanKind.CLIENT
        if callback.type == "http":
            name = "POST"
        elif "messaging.destination.name" in said:
            name, kind = f"send {said['messaging.destination.name']}", SpanKind.PRODUCER
        with self._current(name, kind, said, context_of(headers)):
            yield headers_for_receivers()

    @contextmanager
    def _current(
        self,
        name: str,
        kind: SpanKind,
        said: attributes.Attributes,
        parent: Context | None = None,
        links: Sequence[Link] = (),
    ) -> Iterator[Span]:
        """A span that is the current one meanwhile. `parent` None: the current context's."""
        # by hand, since the SDK would put the text of an exception into the span
        span = self._tracer.start_span(name, parent, kind, said, links)
        around = get_current() if parent is None else parent
        # without a provider an older API makes a span that is none, and would end the trace that came
        is_real = span.get_span_context().is_valid
        token = attach(trace.set_span_in_context(span, around) if is_real else around)
        try:
            yield span
        except BaseException as error:
            _fail(span, type(error).__name__)
            raise
        finally:
            detach(token)
            span.end()


def _with(headers: Mapping[str, str], message: OutgoingMessage) -> OutgoingMessage:
    return replace(message, headers={**message.headers, **headers}) if headers else message


def _mark(span: Span, errors: Sequence[Exception | None]) -> None:
    failed = next((error for error in errors if error is not None), None)
    if failed is not None:
        _fail(span, type(failed).__name__)


def _fail(span: Span, error_type: str) -> None:
    span.set_status(Status(StatusCode.ERROR))
    span.set_attribute(attributes.ERROR_TYPE, error_type)


def _current_ids() -> dict[str, str]:
    """As log lines name them; none without a trace."""
    context = trace.get_current_span().get_span_context()
    if not context.is_valid:
        return {}
    return {"trace_id": trace.format_trace_id(context.trace_id), "span_id": trace.format_span_id(context.span_id)}
