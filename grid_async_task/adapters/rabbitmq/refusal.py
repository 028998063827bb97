"""Telling a broker that says no from one that dies while a connection is made."""

from __future__ import annotations

import re

from pika.exceptions import ConnectionClosedByBroker, ProbableAccessDeniedError, ProbableAuthenticationError

#: AMQP reply codes that say "not with this login"
ACCESS_REFUSED, NOT_ALLOWED = 403, 530

_CLOSED_BY_BROKER = re.compile(rf"{ConnectionClosedByBroker.__name__}: \((\d+)\)")


def is_refusal(error: Exception) -> bool:
    """Whether the broker itself has refused user, password or virtual host.

    pika supposes so of every connection that ends in the middle of its handshake, also when the
    broker was killed just then; the text inside tells whether the broker said anything.
    """
    if isinstance(error, ConnectionClosedByBroker):
        return error.reply_code in (ACCESS_REFUSED, NOT_ALLOWED)
    if isinstance(error, (ProbableAuthenticationError, ProbableAccessDeniedError)):
        said = _CLOSED_BY_BROKER.search(str(error))
        return said is not None and int(said[1]) in (ACCESS_REFUSED, NOT_ALLOWED)
    return False
