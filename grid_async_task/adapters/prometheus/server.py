"""Metrics, over HTTP."""

from __future__ import annotations

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import MetricsHandler

from grid_async_task.adapters.listener import REQUEST_TIMEOUT_S, Listener


class MetricsServer(Listener):
    """Any path will do."""

    def __init__(self, port: int, registry: CollectorRegistry) -> None:
        handler = type("Handler", (MetricsHandler,), {"registry": registry, "timeout": REQUEST_TIMEOUT_S})
        super().__init__(port, handler, setting="METRICS_PORT", what="metrics")
