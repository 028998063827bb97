"""A real HTTP server in a thread, for tests: it records what it is sent and answers by a script.

    with HttpReceiver() as receiver:
        receiver.answer_with([503, Answer(429, {"Retry-After": "2"}), 200])
        ...  # something that POSTs to receiver.url
        receiver.wait_for(3)
        assert receiver.requests[0].body == b"..."

After its script the receiver answers 200.
"""

from __future__ import annotations

import ssl
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    #: names in lower case
    headers: Mapping[str, str]
    #: exactly the bytes that came
    body: bytes
    #: `time.monotonic()` when it had come
    at: float


@dataclass(frozen=True)
class Answer:
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b"ok"
    #: seconds before the first byte
    delay_s: float = 0.0
    #: what has to happen before the first byte; the receiver's end counts as well
    after: threading.Event | None = None
    #: seconds between any two bytes, of the header too; 0 sends all at once
    drip_s: float = 0.0
    #: hang up without an answer
    hang_up: bool = False


def redirect(to: str, status: int = 302) -> Answer:
    return Answer(status, {"Location": to})


HANG_UP = Answer(hang_up=True)


class HttpReceiver:
    """Listens on 127.0.0.1 while its context is entered. `tls` wraps its connections."""

    def __init__(self, *, tls: ssl.SSLContext | None = None) -> None:
        self._requests: list[Request] = []
        self._script: deque[Answer] = deque()
        self._judge: Callable[[Request], Answer] = lambda request: Answer()
        self._changed = threading.Condition()
        self._closing = threading.Event()
        self._server = _server(self)
        if tls is not None:
            # the handshake happens on the first read, in the connection's own thread
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True, do_handshake_on_connect=False)
        self._scheme = "http" if tls is None else "https"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), name="http-receiver")

    @property
    def port(self) -> int:
        return self._server.server_address[1]

    @property
    def url(self) -> str:
        return f"{self._scheme}://127.0.0.1:{self.port}/callback"

    @property
    def requests(self) -> list[Request]:
        """Those that have come so far, in order."""
        with self._changed:
            return list(self._requests)

    def wait_for(self, count: int, timeout: float = 10.0) -> list[Request]:
        """Wait until that many requests have come; fails the test when they do not."""
        with self._changed:
            arrived = self._changed.wait_for(lambda: len(self._requests) >= count, timeout)
            assert arrived, f"{len(self._requests)} of {count} requests came within {timeout} s"
            return list(self._requests)

    def answer_with(self, answers: Iterable[Answer | int]) -> None:
        """The answers to the next requests, one each; a number is a status."""
        with self._changed:
            self._script = deque(Answer(item) if isinstance(item, int) else item for item in answers)

    def answer_by(self, judge: Callable[[Request], Answer]) -> None:
        """Work the answer out from the request, where the script has none."""
        self._judge = judge

    def __enter__(self) -> HttpReceiver:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._closing.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def take(self, request: Request) -> Answer:
        """For the handler: record the request and say how to answer it."""
        with self._changed:
            self._requests.append(request)
            answer = self._script.popleft() if self._script else self._judge(request)
            self._changed.notify_all()
            return answer

    def pause(self, seconds: float) -> None:
        """For the handler: wait, but not longer than the receiver lives."""
        if seconds:
            self._closing.wait(seconds)

    def wait_until(self, event: threading.Event) -> None:
        """For the handler: the same, for what the test decides."""
        while not event.wait(0.02) and not self.is_closing:
            pass

    @property
    def is_closing(self) -> bool:
        return self._closing.is_set()


def _server(receiver: HttpReceiver) -> ThreadingHTTPServer:
    class Handler(BaseHTTPRequestHandler):
        timeout = 10

        def do_POST(self) -> None:
            length = int(self.headers.get("Content-Length", 0))
            body = self.rfile.read(length)
            if len(body) < length:
                return  # whoever was sending it is dead
            headers = {name.lower(): value for name, value in self.headers.items()}
            answer = receiver.take(Request(self.command, self.path, headers, body, time.monotonic()))
            receiver.pause(answer.delay_s)
            if answer.after is not None:
                receiver.wait_until(answer.after)
            if not answer.hang_up:
                self._write(answer)

        do_GET = do_POST  # noqa: N815

        def _write(self, answer: Answer) -> None:
            lines = [f"HTTP/1.1 {answer.status} As scripted"]
            headers = {"Content-Length": str(len(answer.body)), "Connection": "close", **answer.headers}
            lines += [f"{name}: {value}" for name, value in headers.items()]
            whole = "\r\n".join([*lines, "", ""]).encode("latin-1") + answer.body
            pieces = [whole] if not answer.drip_s else [whole[i : i + 1] for i in range(len(whole))]
            for piece in pieces:
                if receiver.is_closing:
                    return
                self.wfile.write(piece)
                receiver.pause(answer.drip_s)

        def log_message(self, *args: Any) -> None:
            """Nothing: the test says what matters."""

    class Server(ThreadingHTTPServer):
        daemon_threads = False  # so that closing waits for the connections' threads

        def handle_error(self, request: Any, client_address: Any) -> None:
            """Clients that hang up are part of the tests."""

    return Server(("127.0.0.1", 0), Handler)
