"""Callbacks as messages on a reply queue (SPEC section 5)."""

from __future__ import annotations

from grid_async_task.domain.callback import Callback
from grid_async_task.domain.errors import ConfigurationError, PermanentCallbackError, ValidationError
from grid_async_task.domain.message_parsing import reply_queue
from grid_async_task.ports.callback_sender import CallbackDeferred, CallbackFailed, CallbackSender
from grid_async_task.ports.errors import BrokerUnavailable, PublishRefused
from grid_async_task.ports.message_publisher import MessagePublisher, OutgoingMessage


class ReplyQueueSender(CallbackSender):
    """Publishes the callback to the queue that its `callback_data` names, on whichever broker the publisher knows."""

    def __init__(self, publisher: MessagePublisher) -> None:
        self._publisher = publisher

    def send(self, callback: Callback) -> None:
        """See `CallbackSender`; a broker that can't be used, for whatever reason, costs no try."""
        try:
            queue = reply_queue(callback.data)
        except ValidationError as error:
            raise PermanentCallbackError(str(error)) from error
        message = OutgoingMessage(
            queue,
            callback.body,
            headers=callback.trace,
            properties={"content_type": "application/json", "message_id": callback.id},
        )
        try:
            self._publisher.publish(message)
        except (BrokerUnavailable, ConfigurationError) as error:
            raise CallbackDeferred(f"the broker of reply queue {queue!r} is away: {error}") from error
        except PublishRefused as error:
            raise CallbackFailed(f"reply queue {queue!r} refused the callback: {error}") from error
