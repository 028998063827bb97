"""Callbacks by HTTP POST (SPEC section 5)."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import datetime, timezone

from grid_async_task.adapters.http import retry_after
from grid_async_task.adapters.http.address_guard import host_pattern
from grid_async_task.adapters.http.deadline import Deadline
from grid_async_task.adapters.http.signature import key_of, signature_headers
from grid_async_task.domain.callback import Callback
from grid_async_task.domain.errors import PermanentCallbackError
from grid_async_task.ports.callback_sender import CallbackFailed, CallbackSender

_DELIVERED = 200


class HttpCallbackSender(CallbackSender):
    """POSTs the callback to its URL. Only a status of 200 is a delivery; redirects are not followed.

    `timeout_s`      for one try as a whole, from the look-up of the name to the answer's last header
    `secrets`        sign by Standard Webhooks; more than one while receivers change over
    `use_proxy`      go through the proxy that the environment names. The rules for addresses then hold
                     as far as this process can resolve the name; the proxy has to know its own
    `allowed_hosts`  patterns as in `address_guard.host_pattern`; empty: all hosts
    `block_private`  refuse addresses that are not public; link-local and metadata ones are refused always

    Each try has a connection of its own, so that threads share nothing. Raises
    `ConfigurationError` for a secret or a pattern that is none.
    """

    def __init__(
        self,
        timeout_s: float = 30.0,
        secrets: Sequence[str] = (),
        use_proxy: bool = False,
        allowed_hosts: Sequence[str] = (),
        block_private: bool = False,
    ) -> None:
        self._timeout_s = timeout_s
        self._keys = [key_of(secret) for secret in secrets]
        self._use_proxy = use_proxy
        self._allowed_hosts = [host_pattern(text) for text in allowed_hosts]
        self._block_private = block_private

    def send(self, callback: Callback) -> None:
        """See `CallbackSender`. A refused host and a URL that is none are permanent."""
        # requests takes a good part of a cold start, and many workers never send a callback
        from grid_async_task.adapters.http.guarded_transport import Route, post

        if not callback.url:
            raise PermanentCallbackError("the task named no callback_url")
        with Deadline(self._timeout_s) as deadline:
            route = Route(deadline, self._allowed_hosts, self._block_private)
            answer = post(callback.url, callback.body, self._headers(callback), route, use_proxy=self._use_proxy)
        if answer.status != _DELIVERED:
            redirected = " (redirects are not followed)" if 300 <= answer.status < 400 else ""
            raise CallbackFailed(
                f"{answer.host} answered {answer.status}{redirected}; only {_DELIVERED} counts as delivered",
                retry_after_s=retry_after.seconds_of(answer.retry_after, datetime.now(timezone.utc)),
            )

    def _headers(self, callback: Callback) -> dict[str, str]:
        headers = {
            "Content-Type": "application/json",
            "User-Agent": "grid-async-task",
            "webhook-id": callback.id,
            **callback.trace,
        }
        if self._keys:
            headers |= signature_headers(callback.id, int(time.time()), callback.body, self._keys)
        return headers
