"""From AMQP_URL to what pika needs to know: heartbeat and timeouts that fit a worker."""

from __future__ import annotations

import logging

import pika

from grid_async_task.domain.errors import ConfigurationError

HEARTBEAT_S = 25
#: a broker under a memory or disk alarm stops reading from who publishes
BLOCKED_TIMEOUT_S = 30
SOCKET_TIMEOUT_S = 5
#: for the handshakes (TCP, TLS, AMQP) together
HANDSHAKE_TIMEOUT_S = 10


def parameters_of(url: str, name: str) -> pika.URLParameters:
    try:
        parameters = pika.URLParameters(url)
    except Exception as error:
        raise ConfigurationError(
            f"AMQP_URL can't be read ({type(error).__name__}); it has to look like amqp://user:password@host:5672/vhost"
        ) from None  # the original text may hold the password
    # what stands in the URL's query wins
    if parameters.heartbeat is None:
        parameters.heartbeat = HEARTBEAT_S
    if parameters.blocked_connection_timeout is None:
        parameters.blocked_connection_timeout = BLOCKED_TIMEOUT_S
    if parameters.socket_timeout == parameters.DEFAULT_SOCKET_TIMEOUT:
        parameters.socket_timeout = SOCKET_TIMEOUT_S
    if parameters.stack_timeout == parameters.DEFAULT_STACK_TIMEOUT:
        parameters.stack_timeout = HANDSHAKE_TIMEOUT_S
    parameters.client_properties = {"connection_name": name, **(parameters.client_properties or {})}
    return parameters


def quiet_pika() -> None:
    """pika logs several errors for each try to connect; what matters of them is logged here, once."""
    logger = logging.getLogger("pika")
    if logger.level == logging.NOTSET:
        logger.setLevel(logging.CRITICAL)
