"""The trace that a message is part of, in its headers, as the W3C writes it.

Always in this form, whatever propagators the application has chosen for its own requests:
workers, and whoever publishes without this package, have to understand each other.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from opentelemetry.baggage.propagation import W3CBaggagePropagator
from opentelemetry.context import Context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

_TRACE = TraceContextTextMapPropagator()
_BAGGAGE = W3CBaggagePropagator()
_HEADERS = ("traceparent", "tracestate", "baggage")


def context_of(headers: Mapping[str, Any]) -> Context:
    """What came with a message; an empty context where nothing came, or nothing that makes sense."""
    carrier = {name: value for name in _HEADERS if isinstance(value := headers.get(name), str)}
    if not carrier:
        return Context()
    return _BAGGAGE.extract(carrier, _TRACE.extract(carrier, Context()))


def headers_for_workers(context: Context | None = None) -> dict[str, str]:
    """Of the current context, where none is given."""
    carrier: dict[str, str] = {}
    _TRACE.inject(carrier, context)
    _BAGGAGE.inject(carrier, context)
    return carrier


def headers_for_receivers(context: Context | None = None) -> dict[str, str]:
    """Without the baggage: that is for the services of one's own, and receivers of callbacks may be others'."""
    carrier: dict[str, str] = {}
    _TRACE.inject(carrier, context)
    return carrier
