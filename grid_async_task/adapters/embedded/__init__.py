"""A queue in one SQLite file: no server, several processes on one machine, safe under kill -9.

The file has to lie on a disk of that machine: SQLite's locks do not reach over a network.
"""

from grid_async_task.adapters.embedded.publisher import EmbeddedMessagePublisher
from grid_async_task.adapters.embedded.source import EmbeddedMessageSource

__all__ = ["EmbeddedMessagePublisher", "EmbeddedMessageSource"]
