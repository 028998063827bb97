"""How adapters tell the application that the world outside did not do what it was asked.

Anything an adapter's own library raises is turned into one of these, or into a
`ConfigurationError` where only a person can help. Their texts hold no secrets.
"""

from __future__ import annotations

from grid_async_task.domain.errors import ConnectionError, GridAsyncTaskError


class RepositoryUnavailable(ConnectionError):
    """The database could not answer. Whether a write was committed is unknown; trying again is right, for ever.

    Also for lock wait timeouts, deadlocks, read-only servers, and every error that is not
    known to be about the data itself.
    """


class DataRefused(GridAsyncTaskError):
    """The database answered that it can't hold this very value. Nothing was written; trying again won't help."""


class BrokerUnavailable(ConnectionError):
    """The broker did not confirm. With `maybe_sent` true the message may have arrived all the same."""


class PublishRefused(GridAsyncTaskError):
    """The broker answered and refused the message (queue full, no rights, no such queue). It was not taken."""
