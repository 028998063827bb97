"""One AMQP connection on a thread of its own, which comes back by itself.

pika's connection belongs to one thread. Here it is an I/O thread; others hand it functions
(`post`) or hold a conversation on a channel (`converse`), and never wait without a limit.
"""

from __future__ import annotations

import concurrent.futures
import random
import threading
import time
from collections.abc import Callable
from typing import Any, Protocol, TypeVar, cast

import structlog
from pika.adapters.select_connection import IOLoop, SelectConnection
from pika.channel import Channel
from pika.exceptions import AMQPError, ChannelClosedByBroker
from pika.frame import Method
from pika.spec import Connection as ConnectionClass

from grid_async_task.adapters.rabbitmq.error_text import text_of
from grid_async_task.adapters.rabbitmq.header_timestamps import accept_any_timestamp
from grid_async_task.adapters.rabbitmq.parameters import parameters_of, quiet_pika
from grid_async_task.adapters.rabbitmq.refusal import is_refusal
from grid_async_task.adapters.rabbitmq.whole_messages import WholeMessageConnection
from grid_async_task.domain.errors import ConfigurationError
from grid_async_task.ports import BrokerUnavailable

log = structlog.get_logger(__name__)

T = TypeVar("T")
T_contra = TypeVar("T_contra", contravariant=True)
#: what the broker says to a question, or why it says nothing
Answer = concurrent.futures.Future

#: what a broker gets to answer one question
ANSWER_TIMEOUT_S = 10.0
#: pauses between tries to connect: the first, and the longest
FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 15.0
#: seconds between two signs of life of the I/O thread
SIGN_OF_LIFE_EVERY_S = 2.0


class Done(Protocol[T_contra]):
    """How a conversation tells its result."""

    def __call__(self, result: T_contra, /) -> None: ...


class Connection:
    """A connection that is made on first use and remade for ever, until `close`."""

    def __init__(self, url: str, role: str, *, on_lost: Callable[[Exception], None] | None = None) -> None:
        """`role` is how operators see it in the broker's list of connections.

        `on_lost` is called on the I/O thread each time an open connection has ended, `close` included.
        """
        self._parameters = parameters_of(url, f"grid_async_task {role}")
        self._role = role
        self._on_lost = on_lost
        self._changed = threading.Condition()
        self._closing = threading.Event()
        self._unanswered: set[Answer[Any]] = set()
        #: when the I/O thread last showed life; None while there is to be none
        self._alive_at: float | None = None
        # all below under _changed
        self._thread: threading.Thread | None = None
        self._loop: IOLoop | None = None
        self._connection: SelectConnection | None = None
        self._connected = False
        self._was_connected = False
        self._refused: ConfigurationError | None = None

    @property
    def user(self) -> str:
        return str(getattr(self._parameters.credentials, "username", "?"))

    @property
    def virtual_host(self) -> str:
        return self._parameters.virtual_host

    @property
    def connected(self) -> bool:
        return self._connected

    @property
    def silent_s(self) -> float:
        """Seconds for which the I/O thread has shown no life; 0 before it is needed and after `close`."""
        alive_at = self._alive_at
        return 0.0 if alive_at is None or self._closing.is_set() else time.monotonic() - alive_at

    # -- for other threads ------------------------------------------------------------------------

    def wait_connected(self, timeout_s: float) -> bool:
        """Start connecting if need be, and wait; False where it took longer. Raises `ConfigurationError`."""
        if self._connected:
            return True
        with self._changed:
            if self._closing.is_set():
                return False
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name=f"amqp-{self._role}", daemon=True)
                self._alive_at = time.monotonic()
                self._thread.start()
            self._changed.wait_for(lambda: self._connected or self._refused or self._closing.is_set(), timeout_s)
            if self._refused is not None:
                # the thread has ended; whoever asks next starts a new one, with luck after the cure
                error, self._refused = self._refused, None
                raise error
            return self._connected

    def post(self, function: Callable[[], None]) -> bool:
        """Have a function run on the I/O thread, soon; False, and it is dropped, where there is no connection."""
        with self._changed:
            if self._loop is None or not self._connected:
                return False
            self._loop.add_callback_threadsafe(_safe(function))
            return True

    def ask(self, question: Callable[[Answer[T]], None], timeout_s: float = ANSWER_TIMEOUT_S) -> T:
        """Have a question put on the I/O thread, and wait for its answer.

        Raises `ChannelClosedByBroker` when that was the answer, else `BrokerUnavailable`.
        """
        answer: Answer[T] = concurrent.futures.Future()

        def put() -> None:
            try:
                question(answer)
            except Exception as error:
                fail(answer, error)

        self._unanswered.add(answer)
        try:
            if not self.post(put):
                raise BrokerUnavailable(f"no connection to the broker at {self.address}")
            return answer.result(timeout_s)
        except concurrent.futures.TimeoutError:  # before OSError, which it is from Python 3.11 on
            raise BrokerUnavailable(f"the broker at {self.address} did not answer within {timeout_s:g} s") from None
        except ChannelClosedByBroker:
            raise
        except (AMQPError, OSError) as error:
            raise BrokerUnavailable(f"the connection to {self.address} was lost: {text_of(error)}") from error
        finally:
            self._unanswered.discard(answer)

    def converse(
        self,
        say: Callable[[Channel, Done[T]], None],
        *,
        timeout_s: float = ANSWER_TIMEOUT_S,
        keep: bool = False,
    ) -> T:
        """Open a channel, let `say` speak on it, and wait for what it says to `done`; raises as `ask` does.

        The channel is closed afterwards, unless `keep`. `say` runs on the I/O thread.
        """
        channels: list[Channel] = []

        def begin(answer: Answer[T]) -> None:
            def speak(channel: Channel) -> None:
                try:
                    say(channel, lambda result: succeed(answer, result))
                except Exception as error:
                    fail(answer, error)

            channel = cast(SelectConnection, self._connection).channel(on_open_callback=speak)
            channel.add_on_close_callback(lambda _channel, reason: fail(answer, reason))
            channels.append(channel)

        def end() -> None:
            for channel in channels:
                if channel.is_open:
                    channel.close()

        succeeded = False
        try:
            result = self.ask(begin, timeout_s)
            succeeded = True
            return result
        finally:
            if not (keep and succeeded):
                self.post(end)

    def close(self, timeout_s: float = 5.0) -> None:
        """Leave; what was posted before is sent first, of a batch what is written by then. Returns in time."""
        with self._changed:
            self._closing.set()
            self._changed.notify_all()
            thread, loop = self._thread, self._loop
            if loop is not None:
                loop.add_callback_threadsafe(_safe(self._say_goodbye))
        if thread is None or thread is threading.current_thread():
            return
        thread.join(timeout_s)
        if thread.is_alive():
            with self._changed:
                if self._loop is not None:
                    self._loop.add_callback_threadsafe(_safe(self._hang_up))
            thread.join(1.0)

    @property
    def address(self) -> str:
        """Where the broker is, without user and password."""
        path = "" if self.virtual_host == "/" else f"/{self.virtual_host}"
        return f"{self._parameters.host}:{self._parameters.port}{path}"

    # -- on the I/O thread ------------------------------------------------------------------------

    def _run(self) -> None:
        quiet_pika()
        accept_any_timestamp()
        pause_s = FIRST_PAUSE_S
        troubled = False  # whether the log says that we are without a connection
        while not self._closing.is_set():
            error, opened = self._live_once(troubled)
            if self._closing.is_set():
                break
            refusal = None if self._was_connected else self._refusal(error)
            if refusal is not None:
                with self._changed:
                    self._thread, self._refused = None, refusal
                    self._alive_at = None
                    self._changed.notify_all()
                return
            if opened:
                pause_s = FIRST_PAUSE_S
            if opened or not troubled:
                log.warning(
                    "broker connection lost" if opened else "broker not reachable, trying on",
                    role=self._role,
                    broker=self.address,
                    error=text_of(error),
                )
                troubled = True
            self._closing.wait(pause_s * random.uniform(0.75, 1.25))
            pause_s = min(LONGEST_PAUSE_S, pause_s * 2)
        with self._changed:
            self._thread = None

    def _live_once(self, troubled: bool) -> tuple[Exception, bool]:
        """One connection from its first try to its end: why it ended, and whether it was open before."""
        loop = IOLoop()
        reasons: list[BaseException] = []
        was_open = False

        def show_life() -> None:
            self._alive_at = time.monotonic()
            loop.call_later(SIGN_OF_LIFE_EVERY_S, show_life)

        def opened(_connection: SelectConnection) -> None:
            nonlocal was_open
            was_open = True
            with self._changed:
                self._connected = self._was_connected = True
                self._changed.notify_all()
            (log.warning if troubled else log.debug)("broker connected", role=self._role, broker=self.address)

        def blocked(_connection: SelectConnection, frame: Method[ConnectionClass.Blocked]) -> None:
            log.warning(
                "the broker takes no messages until its alarm is over",
                role=self._role,
                broker=self.address,
                reason=frame.method.reason,
            )

        def unblocked(_connection: SelectConnection, _frame: object) -> None:
            log.info("the broker takes messages again", role=self._role, broker=self.address)

        def ended(_connection: SelectConnection, reason: BaseException) -> None:
            reasons.append(reason)
            loop.stop()

        try:
            connection = WholeMessageConnection(
                self._parameters,
                on_open_callback=opened,
                on_open_error_callback=ended,
                on_close_callback=ended,
                custom_ioloop=loop,
            )
            connection.add_on_connection_blocked_callback(blocked)
            connection.add_on_connection_unblocked_callback(unblocked)
            with self._changed:
                self._loop, self._connection = loop, connection
                if self._closing.is_set():
                    loop.add_callback_threadsafe(_safe(self._say_goodbye))
            show_life()
            loop.start()
        except Exception as surprise:  # a bug in pika or here must not leave the worker without a connection
            reasons.append(surprise)
        finally:
            with self._changed:
                self._loop = self._connection = None
                self._connected = False
                self._changed.notify_all()
            loop.close()
        for answer in list(self._unanswered):
            fail(answer, ConnectionError("the connection ended"))
        reason = reasons[0] if reasons else None
        error = reason if isinstance(reason, Exception) else ConnectionError(f"the connection ended: {reason!r}")
        if was_open and self._on_lost is not None:
            _safe(lambda: self._on_lost(error) if self._on_lost else None)()
        return error, was_open

    def _say_goodbye(self) -> None:
        connection = self._connection
        if connection is not None and not (connection.is_closing or connection.is_closed):
            connection.close()

    def _hang_up(self) -> None:
        """For a broker that does not answer the goodbye."""
        if self._connection is not None:
            # pika's one way to give the socket back without the broker's consent; it has no public name
            self._connection._terminate_stream(ConnectionError("no answer to the goodbye"))  # type: ignore[attr-defined]

    def _refusal(self, error: Exception) -> ConfigurationError | None:
        """What a person has to know, where trying again is no cure."""
        if not is_refusal(error):
            return None
        return ConfigurationError(
            f"the broker at {self.address} refuses the user {self.user!r} on the virtual host {self.virtual_host!r}: "
            f"{text_of(error)}. Check user, password and virtual host of AMQP_URL, and the user's permissions "
            f"(rabbitmqctl list_permissions -p {self.virtual_host})"
        )


def succeed(answer: Answer[T], result: T) -> None:
    """The answer is there. One who has already got another, or gone, is not disturbed."""
    if not answer.done():
        answer.set_result(result)


def fail(answer: Answer[Any], error: Exception) -> None:
    """There will be no answer."""
    if not answer.done():
        answer.set_exception(error)


def _safe(function: Callable[[], None]) -> Callable[[], None]:
    """What is posted must not end the loop: a connection that dies meanwhile is noticed elsewhere."""

    def run() -> None:
        try:
            function()
        except (AMQPError, OSError) as error:
            log.debug("not sent, the connection is gone", error=text_of(error))
        except Exception:
            log.exception("error on the I/O thread")

    return run
