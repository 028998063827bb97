"""Traces, by OpenTelemetry."""

from __future__ import annotations

from grid_async_task.adapters.opentelemetry.late import LateTracing

__all__ = ["LateTracing"]
