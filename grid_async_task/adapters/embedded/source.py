"""Taking messages out of the file."""

from __future__ import annotations

import json
import os
import secrets
import threading
import time
from collections import deque
from collections.abc import Callable, Collection
from dataclasses import dataclass

import structlog

from grid_async_task.adapters.embedded.queue_file import REGISTER_QUEUE, QueueFile
from grid_async_task.domain.errors import ConfigurationError
from grid_async_task.ports.errors import BrokerUnavailable
from grid_async_task.ports.message_source import Delivery, MessageSource

#: SQLite tells nobody that a message has come: an empty queue is asked again after so many seconds,
FIRST_POLL_S = 0.01
#: and ever less often, down to this
LONGEST_POLL_S = 0.1
POLL_GROWTH = 1.5

_READY = "FROM grid_async_task_messages WHERE queue = ? AND due_at <= ? AND leased_until <= ?"
_ANY_READY = f"SELECT 1 {_READY} LIMIT 1"
_NEXT_READY = f"SELECT id, body, headers, properties, delivery_count {_READY} ORDER BY due_at, id LIMIT ?"
_LEASE = """
    UPDATE grid_async_task_messages SET leased_by = ?, leased_until = ?, delivery_count = delivery_count + 1
    WHERE id = ?
"""
# each take raises delivery_count: a lease that was lost and won again is another one
_MINE = "WHERE id = ? AND leased_by = ? AND delivery_count = ?"
_RENEW = f"UPDATE grid_async_task_messages SET leased_until = ? {_MINE}"
_RELEASE = f"UPDATE grid_async_task_messages SET leased_by = NULL, leased_until = 0 {_MINE}"
_DELETE = f"DELETE FROM grid_async_task_messages {_MINE}"

_log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class _Receipt:
    """Which message, and by which of its leases."""

    message_id: int
    owner: str
    #: `delivery_count` as this lease has set it
    lease_number: int

    @property
    def key(self) -> tuple[int, str, int]:
        return self.message_id, self.owner, self.lease_number


class EmbeddedMessageSource(MessageSource):
    """Each delivery is leased: its row stays in the file, hidden from other readers until the lease ends.

    A thread renews the leases of what this source holds. A reader that is killed renews
    nothing any more, and its messages return after at most `lease_s` seconds.
    """

    def __init__(
        self, path_or_url: str | os.PathLike[str], queue: str, *, prefetch: int = 1, lease_s: float = 5.0
    ) -> None:
        self._file = QueueFile(path_or_url)
        self._queue = queue
        self._prefetch = prefetch
        self._lease_s = lease_s
        self._owner = secrets.token_hex(8)
        # guards all that follows; the file has a lock of its own
        self._lock = threading.RLock()
        self._registered = False
        #: what is in hand or in the buffer
        self._held: set[_Receipt] = set()
        self._buffer: deque[Delivery] = deque()
        #: acknowledged, and not yet deleted
        self._done: list[_Receipt] = []
        self._leased_at = time.monotonic()
        self._usable: bool | None = None
        #: ends the waiting of `next`
        self._interrupted = threading.Event()
        self._closed = threading.Event()
        self._heartbeat: threading.Thread | None = None

    # -- the port ---------------------------------------------------------------------------------

    def next(self, timeout_s: float) -> Delivery | None:
        deadline = time.monotonic() + timeout_s
        poll_s = FIRST_POLL_S
        with self._lock:
            if not self._closed.is_set():
                self._interrupted.clear()
        while True:
            with self._lock:
                # asked under the lock: after `pause` has returned nothing is taken
                if self._interrupted.is_set():
                    return None
                if delivery := self._buffered() or self._taken():
                    return delivery
            left_s = deadline - time.monotonic()
            if left_s <= 0 or self._interrupted.wait(min(poll_s, left_s)):
                return None
            poll_s = min(poll_s * POLL_GROWTH, LONGEST_POLL_S)

    def ack(self, delivery: Delivery) -> None:
        with self._lock:
            if delivery.receipt in self._held:
                self._held.remove(delivery.receipt)
                self._done.append(delivery.receipt)
                self._delete_done()

    def holds(self, delivery: Delivery) -> bool:
        with self._lock:
            return delivery.receipt in self._held

    def pause(self) -> None:
        self._interrupted.set()
        with self._lock:
            self._release_buffer()

    @property
    def connected(self) -> bool:
        return self._usable is True and not self._closed.is_set()

    def close(self) -> None:
        self._interrupted.set()
        self._closed.set()
        if self._heartbeat is not None:
            self._heartbeat.join()
        with self._lock:
            self._delete_done()
            self._buffer.clear()
            self._release(self._held)
            self._file.close()

    # -- taking -----------------------------------------------------------------------------------

    def _buffered(self) -> Delivery | None:
        if self._buffer and time.monotonic() - self._leased_at > self._lease_s and self._tried(self._renew):
            # stood still for longer than the leases, and can't learn whether others have these by now
            return None
        return self._buffer.popleft() if self._buffer else None

    def _taken(self) -> Delivery | None:
        self._delete_done()
        room = self._prefetch - len(self._held)
        if room <= 0 or self._buffer:
            return None
        if isinstance(error := self._tried(lambda: self._take(room)), ConfigurationError):
            raise error
        if not self._buffer:
            return None
        self._keep_alive()
        return self._buffer.popleft()

    def _take(self, room: int) -> None:
        now = time.time()
        if self._registered:
            with self._file.reading() as db:
                # most questions find nothing, and need not wait for anybody who writes
                if db.execute(_ANY_READY, (self._queue, now, now)).fetchone() is None:
                    return
        leased_at = time.monotonic()
        with self._file.writing() as db:
            db.execute(REGISTER_QUEUE, (self._queue,))
            now = time.time()  # anew: the transaction may have had to wait
            rows = db.execute(_NEXT_READY, (self._queue, now, now, room)).fetchall()
            db.executemany(_LEASE, [(self._owner, now + self._lease_s, row[0]) for row in rows])
        # only now: what was not committed is not leased
        self._registered = True
        if rows and not self._held:
            self._leased_at = leased_at
        for message_id, body, headers, properties, count in rows:
            receipt = _Receipt(message_id, self._owner, count + 1)
            self._held.add(receipt)
            self._buffer.append(Delivery(body, json.loads(headers), json.loads(properties), count, receipt))

    # -- letting go -------------------------------------------------------------------------------

    def _delete_done(self) -> None:
        """Where that fails the heartbeat tries again."""
        if self._done and self._tried(lambda: self._for_each(_DELETE, self._done)) is None:
            self._done.clear()

    def _release_buffer(self) -> None:
        receipts = {delivery.receipt for delivery in self._buffer}
        self._buffer.clear()
        self._release(receipts)

    def _release(self, receipts: set[_Receipt]) -> None:
        """Give messages back at once. Where that fails nobody renews them, and they return when their lease ends."""
        self._held = self._held - receipts
        if receipts:
            self._tried(lambda: self._for_each(_RELEASE, receipts))

    def _for_each(self, statement: str, receipts: Collection[_Receipt]) -> None:
        with self._file.writing() as db:
            db.executemany(statement, [receipt.key for receipt in receipts])

    # -- leases -----------------------------------------------------------------------------------

    def _keep_alive(self) -> None:
        if self._heartbeat is None:
            self._heartbeat = threading.Thread(target=self._renew_for_ever, name="embedded-lease", daemon=True)
            self._heartbeat.start()

    def _renew_for_ever(self) -> None:
        while not self._closed.wait(self._lease_s / 3):
            with self._lock:
                self._delete_done()
                if self._held:
                    self._tried(self._renew)

    def _renew(self) -> None:
        """Extend the leases of what is held; forget what others have by now."""
        renewed_at = time.monotonic()
        with self._file.writing() as db:
            until = time.time() + self._lease_s
            held = {each for each in self._held if db.execute(_RENEW, (until, *each.key)).rowcount == 1}
        self._held = held
        self._buffer = deque(delivery for delivery in self._buffer if delivery.receipt in held)
        self._leased_at = renewed_at

    # -- trouble ----------------------------------------------------------------------------------

    def _tried(self, step: Callable[[], None]) -> BrokerUnavailable | ConfigurationError | None:
        """Carry out the step; what went wrong, if it did. Each change between good and bad is logged once."""
        try:
            step()
        except (BrokerUnavailable, ConfigurationError) as error:
            if self._usable is not False:
                _log.warning("the queue file can't be used, waiting for it", queue=self._queue, error=str(error))
            self._usable = False
            return error
        if self._usable is False:
            _log.info("the queue file can be used again", queue=self._queue)
        self._usable = True
        return None
