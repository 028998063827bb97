"""Metrics for Prometheus: of one worker, and of a queue as a whole."""

from __future__ import annotations

from grid_async_task.adapters.prometheus.observer import PrometheusObserver
from grid_async_task.adapters.prometheus.server import MetricsServer
from grid_async_task.adapters.prometheus.state import StateMetrics

__all__ = ["MetricsServer", "PrometheusObserver", "StateMetrics"]
