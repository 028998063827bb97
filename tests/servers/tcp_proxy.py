"""A way to a server on which a test breaks connections as networks and failovers do."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from types import TracebackType

from sqlalchemy import make_url

from tests.servers.ports import free_port

Action = Callable[[], object]
CHUNK_BYTES = 65_536
DEFAULT_PORTS = {"amqp": 5672, "mysql": 3306}


class TcpProxy:
    """Passes bytes on, both ways, until told otherwise. May be called from any thread, also from an action."""

    def __init__(self, target_host: str, target_port: int) -> None:
        self._target = (target_host, target_port)
        self.port = free_port()
        self._lock = threading.RLock()
        self._links: list[_Link] = []
        self._lost: list[_Link] = []
        self._hanging = False
        self._delay_s = 0.0
        self._trap: _Trap | None = None
        self._listener: socket.socket | None = None
        self.accept()

    def cut(self) -> None:
        """Drop all connections now; new ones work."""
        with self._lock:
            links, self._links = self._links, []
        for link in links:
            link.close()

    def hang(self) -> None:
        """Connections stay open, new ones are taken, and no byte passes, no end of a connection either."""
        with self._lock:
            self._hanging = True
            for link in self._links:
                link.flowing.clear()

    def resume(self) -> None:
        """Everything held back by `hang` goes on its way."""
        with self._lock:
            self._hanging = False
            for link in self._links:
                link.flowing.set()

    def fail_over(self) -> None:
        """After `hang`: new connections work; the hung ones never will, and nobody tells their ends."""
        with self._lock:
            self._hanging = False
            self._lost += self._links
            self._links = []

    def delay(self, seconds: float) -> None:
        """Each piece of data takes this much longer, both ways; 0 ends it."""
        self._delay_s = seconds

    def refuse(self) -> None:
        """New connections are refused, as on a host where nothing listens; those that are open stay."""
        listener, self._listener = self._listener, None
        if listener is not None:
            listener.shutdown(socket.SHUT_RDWR)  # wakes the thread that accepts
            listener.close()

    def accept(self) -> None:
        """The end of `refuse`."""
        if self._listener is None:
            self._listener = socket.create_server(("127.0.0.1", self.port))
            threading.Thread(target=self._accept_from, args=(self._listener,), daemon=True).start()

    def on_client_bytes(self, needle: bytes, action: Action) -> None:
        """Call `action` once: when bytes with the needle have been sent to the server, and before any answer passes."""
        self._trap = _Trap(needle, action)

    def _accept_from(self, listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = listener.accept()
                link = _Link(client)
                with self._lock:
                    self._links.append(link)
                    if self._hanging:
                        link.flowing.clear()
                threading.Thread(target=self._connect, args=(link,), daemon=True).start()

    def _connect(self, link: _Link) -> None:
        link.flowing.wait()
        try:
            link.connect(self._target)
        except OSError:
            link.close()
        else:
            threading.Thread(target=self._pass_requests, args=(link,), daemon=True).start()
            self._pass_answers(link)

    def _pass_requests(self, link: _Link) -> None:
        seen = b""  # a needle may come in two pieces
        with link.ends(link.server):
            while data := link.client.recv(CHUNK_BYTES):
                self._hold_up(link)
                trap = self._trap
                if trap is None or trap.needle not in seen + data:
                    link.server.sendall(data)
                    seen = (seen + data)[-len(trap.needle) :] if trap is not None else b""
                    continue
                self._trap, seen = None, b""
                with link.answers:
                    link.server.sendall(data)
                    trap.action()

    def _pass_answers(self, link: _Link) -> None:
        with link.ends(link.client):
            while data := link.server.recv(CHUNK_BYTES):
                with link.answers:
                    self._hold_up(link)
                    link.client.sendall(data)

    def _hold_up(self, link: _Link) -> None:
        if self._delay_s:
            link.closed.wait(self._delay_s)
        link.flowing.wait()

    def __enter__(self) -> TcpProxy:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.refuse()
        for link in (*self._links, *self._lost):
            link.close()


class _Trap:
    """What is waited for, and what happens then."""

    def __init__(self, needle: bytes, action: Action) -> None:
        self.needle, self.action = needle, action


class _Link:
    """One connection of a client, and ours to the server for it."""

    def __init__(self, client: socket.socket) -> None:
        self.client = client
        self.server = socket.socket()
        self.flowing = threading.Event()
        self.flowing.set()
        self.closed = threading.Event()
        #: held while answers have to wait for an action
        self.answers = threading.Lock()
        self._open_ways = 2

    def connect(self, target: tuple[str, int]) -> None:
        """Raises OSError, also when the link was closed meanwhile."""
        self.server.connect(target)
        for each in (self.client, self.server):
            each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self.closed.is_set():
            raise ConnectionAbortedError

    @contextlib.contextmanager
    def ends(self, other: socket.socket) -> Iterator[None]:
        """The end of one side's connection, in good order or not, is passed on to the other."""
        try:
            yield
            self.flowing.wait()
            other.shutdown(socket.SHUT_WR)
        except OSError:
            self.flowing.wait()
            self.close()
        self._open_ways -= 1
        if self._open_ways == 0:
            self.close()

    def close(self) -> None:
        self.closed.set()
        for each in (self.client, self.server):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)  # wakes the threads that read
            each.close()
        self.flowing.set()


def proxy_to(url: str) -> TcpProxy:
    """The way to the server of an AMQP_URL or MYSQL_URL."""
    target = make_url(url)
    return TcpProxy(target.host or "localhost", target.port or DEFAULT_PORTS[target.get_backend_name()])


def url_through(proxy: TcpProxy, url: str, **query: str) -> str:
    """The same URL by way of this proxy."""
    return (
        make_url(url)
        .set(host="127.0.0.1", port=proxy.port)
        .update_query_dict(query)
        .render_as_string(hide_password=False)
    )
