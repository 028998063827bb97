"""Notices to a Feishu group, through a custom bot (SPEC section 7)."""

from __future__ import annotations

import socket
import threading
from dataclasses import dataclass, field
from typing import Any

import structlog

from grid_async_task.adapters.feishu.card import card_of, folded_card_of
from grid_async_task.adapters.feishu.rate_limit import RateLimit
from grid_async_task.adapters.feishu.webhook import FeishuBusy, FeishuRefused, Webhook
from grid_async_task.ports.clock import Clock
from grid_async_task.ports.notifier import Notice, Notifier

#: notices that a folded card names
NAMED = 10
#: seconds before each new try to send a folded card that failed; after the last one it is given up
PAUSES_S = (1.0, 2.0, 4.0, 8.0, 15.0, 30.0, 60.0, 60.0)
#: seconds that `close` gives the last cards, the pause before each of its tries at most, and how many tries it makes
CLOSE_S = 5.0
CLOSE_PAUSE_S = 1.0
CLOSE_TRIES = 3

_log = structlog.get_logger(__name__)


@dataclass
class _HeldBack:
    """Notices that wait for a card that tells them together."""

    count: int = 0
    #: as many of them as the card will name
    first: list[Notice] = field(default_factory=list)

    def add(self, other: _HeldBack) -> None:
        self.count += other.count
        self.first = [*self.first, *other.first][:NAMED]

    def log_as_lost(self, reason: str) -> None:
        if self.count:
            _log.error("notices not told", count=self.count, first=[each.title for each in self.first], reason=reason)


class FeishuNotifier(Notifier):
    """Sends each notice as a card of its own; what comes too fast is counted and told in one card.

    A notice is held back while the bot's rate limit is reached (by us, or by others, as Feishu's
    answer tells), and while others are held back already. A thread that exists only as long as
    something is held back sends the folded card as soon as the limit allows, tries again when
    that fails, and logs an error with the count if it gives up. So `notify` returns for a
    notice that was sent or is held back, and raises `FeishuError` for one that was neither.

    `timeout_s` is for connecting and for each read of one request. Raises `ConfigurationError`
    for an address that is none.
    """

    def __init__(self, webhook_url: str, secret: str | None = None, *, timeout_s: float = 10, clock: Clock) -> None:
        self._webhook = Webhook(webhook_url, secret)
        self._timeout_s = timeout_s
        self._clock = clock
        self._limit = RateLimit()
        self._lock = threading.Lock()
        self._held = _HeldBack()
        self._being_told = _HeldBack()
        self._flusher: threading.Thread | None = None
        self._closing = threading.Event()
        # in a pod this is the pod's name
        self._host = {"host": socket.gethostname()}

    def notify(self, notice: Notice) -> None:
        """See `Notifier`."""
        with self._lock:
            now = self._clock.monotonic()
            goes_now = not self._held.count and self._limit.wait_s(now) <= 0
            if goes_now:
                self._limit.count(now)
            else:
                self._hold(notice)
        if goes_now:
            try:
                self._send(self._card_of(notice))
            except FeishuBusy:
                with self._lock:
                    self._hold(notice, failures=1)

    def close(self) -> None:
        """Send what is held back within seconds, whatever the limit per minute. What could not be sent is logged."""
        self._closing.set()
        with self._lock:
            flusher = self._flusher
        if flusher is not None:
            flusher.join(CLOSE_S)
            if flusher.is_alive():
                with self._lock:
                    self._being_told.add(self._held)
                    self._being_told.log_as_lost(f"Feishu did not answer within {CLOSE_S:g} s")
                    self._being_told, self._held = _HeldBack(), _HeldBack()

    def _hold(self, notice: Notice, failures: int = 0) -> None:
        self._held.add(_HeldBack(1, [notice]))
        if self._flusher is None:
            self._flusher = threading.Thread(target=self._flush, args=(failures,), name="feishu-held-back", daemon=True)
            self._flusher.start()

    def _flush(self, failures: int) -> None:
        """The thread: send what is held back, until nothing is. `failures` in a row lengthen the pause before a try."""
        while True:
            with self._lock:
                if not self._held.count:
                    self._flusher = None
                    return
                limit_s = self._limit.wait_s(self._clock.monotonic())
            self._wait(max(limit_s, PAUSES_S[failures - 1] if failures else 0.0))
            with self._lock:
                self._being_told, self._held = self._held, _HeldBack()
                self._limit.count(self._clock.monotonic())
            error = self._tell(self._being_told)
            with self._lock:
                failures = self._settle(error, failures)

    def _wait(self, seconds: float) -> None:
        until = self._clock.monotonic() + seconds
        if self._clock.wait(self._closing, seconds):
            # not at once, for the limit per second holds for the last card too
            left_s = min(CLOSE_PAUSE_S, until - self._clock.monotonic())
            if left_s > 0:
                self._clock.wait(threading.Event(), left_s)

    def _settle(self, error: Exception | None, failures: int) -> int:
        """What a try to tell leads to: nothing, another try, or the end. How many failures in a row there now are."""
        tried, self._being_told = self._being_told, _HeldBack()
        if error is None or not tried.count:  # none: `close` has given it up meanwhile
            return 0
        tries = CLOSE_TRIES if self._closing.is_set() else len(PAUSES_S) + 1
        if failures + 1 >= tries or isinstance(error, FeishuRefused):
            tried.log_as_lost(str(error))
            return 0
        tried.add(self._held)
        self._held = tried
        return failures + 1

    def _tell(self, held: _HeldBack) -> Exception | None:
        try:
            if held.count == 1:
                self._send(self._card_of(held.first[0]))
            else:
                self._send(folded_card_of(held.first, held.count, self._host))
        except Exception as error:  # whatever it is: an error that ended the thread would hold all back for ever
            return error
        return None

    def _card_of(self, notice: Notice) -> dict[str, Any]:
        return card_of(Notice(notice.title, notice.facts | self._host, notice.traceback))

    def _send(self, card: dict[str, Any]) -> None:
        timeout_s = min(self._timeout_s, CLOSE_S) if self._closing.is_set() else self._timeout_s
        self._webhook.send(card, self._clock.now(), timeout_s)
