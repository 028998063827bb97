"""Answers for probes, over HTTP."""

from __future__ import annotations

from grid_async_task.adapters.probes.server import ProbeServer

__all__ = ["ProbeServer"]
