"""What OpenTelemetry's own variables say, as far as it has to be known before any of it is loaded."""

from __future__ import annotations

import os
from importlib.util import find_spec

_ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")


def may_trace() -> bool:
    """Whether the SDK is installed and not switched off."""
    is_disabled = os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true"
    return not is_disabled and _is_installed("opentelemetry.sdk")


def may_export() -> bool:
    """Whether there is somewhere to send traces to, and the way to do it is installed."""
    is_wanted = any(os.environ.get(name) for name in _ENDPOINTS)
    is_ours = os.environ.get("OTEL_TRACES_EXPORTER", "otlp") == "otlp"
    return is_wanted and is_ours and may_trace() and _is_installed("opentelemetry.exporter.otlp.proto.http")


def _is_installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # not even the package that it would be in
        return False
