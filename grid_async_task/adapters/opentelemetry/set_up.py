"""Sending traces somewhere, where nobody else sees to it: for the program, which has no application around it."""

from __future__ import annotations

import os

from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from grid_async_task.domain.errors import ConfigurationError

_PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
_SPOKEN = "http/protobuf"


def export_as_the_environment_says() -> None:
    """Set OpenTelemetry up by its own variables; what is set up already stays.

    The SDK reads the rest of them (`OTEL_SERVICE_NAME`, `OTEL_TRACES_SAMPLER` ...). What is under way is sent
    when the process ends. Raises `ConfigurationError` for a protocol that is not spoken here.
    """
    if _is_set_up():
        return
    protocol = next((value for name in _PROTOCOLS if (value := os.environ.get(name))), _SPOKEN)
    if protocol != _SPOKEN:
        raise ConfigurationError(
            f"OTEL_EXPORTER_OTLP_PROTOCOL is {protocol}, but only {_SPOKEN} is spoken (most collectors have it on "
            "port 4318); for another one start the worker with `opentelemetry-instrument`"
        )
    provider = TracerProvider(resource=Resource.create(_service()))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    trace.set_tracer_provider(provider)


def _is_set_up() -> bool:
    return not isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider)


def _service() -> dict[str, str]:
    is_named = "OTEL_SERVICE_NAME" in os.environ or "service.name=" in os.environ.get("OTEL_RESOURCE_ATTRIBUTES", "")
    return {} if is_named else {"service.name": "grid-async-task"}
