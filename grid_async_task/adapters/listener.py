"""A small HTTP server on a thread of its own, for those who look at a worker."""

from __future__ import annotations

import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from types import TracebackType

import structlog

from grid_async_task.domain.errors import ConfigurationError

#: seconds that a client gets to send its request
REQUEST_TIMEOUT_S = 5.0

log = structlog.get_logger(__name__)


class Listener:
    """Listens while its context is entered, on all addresses: a kubelet and Prometheus ask the pod's own."""

    def __init__(self, port: int, handler: type[BaseHTTPRequestHandler], *, setting: str, what: str) -> None:
        """`setting` names the port and `what` the thread and the log line."""
        self._port = port
        self._handler = handler
        self._setting = setting
        self._what = what
        self._server: ThreadingHTTPServer | None = None

    def __enter__(self) -> Listener:
        """Raises `ConfigurationError` where the port is taken."""
        try:
            self._server = _Server(("", self._port), self._handler)
        except OSError as error:
            raise ConfigurationError(
                f"{self._setting}: can't listen on port {self._port}: {error.strerror or error}; "
                "each worker of a machine needs a port of its own"
            ) from error
        name = f"grid-async-task {self._what}"
        threading.Thread(target=self._server.serve_forever, name=name, daemon=True).start()
        log.info(f"serving {self._what}", port=self._port)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()


class _Server(ThreadingHTTPServer):
    address_family = socket.AF_INET6 if socket.has_dualstack_ipv6() else socket.AF_INET

    def server_bind(self) -> None:
        if self.address_family == socket.AF_INET6:
            self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        # not HTTPServer's own: that asks the DNS for our name, which may take long
        TCPServer.server_bind(self)

    def handle_error(self, request: object, client_address: object) -> None:
        log.debug("whoever asked hung up", exc_info=True)
