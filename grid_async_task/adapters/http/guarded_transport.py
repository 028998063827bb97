"""One POST over `requests`, to an address that was checked, within a total time limit.

`requests` has no place for either, so the connection is made here: the name is resolved once,
every address is judged, and one of those is connected to. A name that resolves to something
else a moment later (DNS rebinding) gains nothing. Host header, SNI and certificate check go by name.
"""

from __future__ import annotations

import ipaddress
import os
import re
import socket
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from re import Pattern
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from requests.auth import HTTPBasicAuth
from requests.utils import get_auth_from_url, get_environ_proxies
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.util import parse_url

from grid_async_task.adapters.http.address_guard import Rule, broken_host_rule, broken_rule
from grid_async_task.adapters.http.deadline import Deadline
from grid_async_task.domain.errors import PermanentCallbackError
from grid_async_task.ports.callback_sender import CallbackFailed

Connect = Callable[[str, int], socket.socket]


def resolve(host: str) -> list[str]:
    """All addresses of a host, IPv4 and IPv6, in the order in which the system would try them."""
    entries = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in entries))


@dataclass(frozen=True)
class Answer:
    host: str
    status: int
    retry_after: str | None


@dataclass(frozen=True)
class Route:
    """How hosts are reached: which ones, and within which time."""

    deadline: Deadline
    allowed_hosts: Sequence[Pattern[str]] = ()
    block_private: bool = False
    #: host to addresses, as texts; raises OSError
    resolve: Callable[[str], list[str]] = resolve

    def connect_checked(self, host: str, port: int) -> socket.socket:
        """A connection to an address of the host that no rule forbids."""
        return self._connect(host, port, self.checked_addresses(host))

    def connect_proxy(self, host: str, port: int) -> socket.socket:
        """A connection to the proxy of the environment, which is trusted."""
        return self._connect(host, port, self._resolve_in_time(host))

    def checked_addresses(self, host: str) -> list[str]:
        """The host's addresses. Raises `PermanentCallbackError` if a rule forbids the host or any of them."""
        _refuse(host, broken_host_rule(host, self.allowed_hosts))
        addresses = self._resolve_in_time(host)
        for address in addresses:
            _refuse(host, broken_rule(ipaddress.ip_address(address), block_private=self.block_private), address)
        return addresses

    def check_host_behind_proxy(self, host: str) -> None:
        """The same where a proxy connects: a name that only the proxy can resolve is left to its own rules."""
        try:
            self.checked_addresses(host)
        except CallbackFailed:
            self.deadline.left_s()

    def _resolve_in_time(self, host: str) -> list[str]:
        """Resolve in a thread of its own: a resolver knows no time limit."""
        found: list[list[str] | Exception] = []

        def look_up() -> None:
            try:
                found.append(self.resolve(_without_decoration(host)))
            except (OSError, UnicodeError) as error:  # UnicodeError: a label that is empty or too long
                found.append(error)

        thread = threading.Thread(target=look_up, name="resolve-callback-host", daemon=True)
        thread.start()
        thread.join(self.deadline.left_s())
        if not found:
            raise CallbackFailed(f"{host} was not resolved within {self.deadline.seconds:g} s")
        if isinstance(found[0], Exception):
            raise CallbackFailed(f"{host} can't be resolved: {_reason(found[0])}") from None
        return found[0]

    def _connect(self, host: str, port: int, addresses: Sequence[str]) -> socket.socket:
        error: OSError = OSError("it has no address")
        for position, address in enumerate(addresses):
            try:
                # an equal share for each address that is left, so that one that swallows packets leaves time
                share_s = self.deadline.left_s() / (len(addresses) - position)
                connection = socket.create_connection((address, port), timeout=share_s)
            except OSError as failed:
                error = failed
                continue
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection.settimeout(self.deadline.seconds)
            self.deadline.watch(connection)
            return connection
        raise CallbackFailed(f"{host} can't be reached at port {port}: {_reason(error)}")


def post(url: str, body: bytes, headers: Mapping[str, str], route: Route, *, use_proxy: bool) -> Answer:
    """Send the body; the answer's status, whatever it is. Nothing of the answer's body is read, no redirect followed.

    Raises `CallbackFailed` where there was no answer, `PermanentCallbackError` where the URL
    is none or its host is refused.
    """
    try:
        request = requests.Request("POST", url, headers=dict(headers), data=body, auth=_credentials(url)).prepare()
        host = parse_url(request.url or "").host or ""
    except ValueError:  # every kind of bad URL that requests knows derives from it
        raise PermanentCallbackError("callback_url is not a URL that can be called") from None
    proxies = dict(get_environ_proxies(url)) if use_proxy else {}
    # An adapter without a session: no redirects, no cookies, no .netrc, nothing that threads would share.
    adapter = _GuardedAdapter(route)
    timeout_s = route.deadline.seconds
    try:
        if proxies:
            route.check_host_behind_proxy(host)
        with (
            closing(adapter),
            closing(
                adapter.send(request, stream=True, timeout=timeout_s, verify=_trusted_certificates(), proxies=proxies)
            ) as response,
        ):
            return Answer(host, response.status_code, response.headers.get("Retry-After"))
    except (requests.exceptions.InvalidURL, requests.exceptions.InvalidSchema):
        raise PermanentCallbackError("callback_url is not an http:// or https:// URL that can be called") from None
    except (requests.RequestException, OSError) as error:
        if route.deadline.has_passed or isinstance(error, requests.Timeout):
            raise CallbackFailed(f"{host} did not answer within {timeout_s:g} s") from None
        # the text of a RequestException itself holds the URL's path and query
        raise CallbackFailed(f"{host} could not be asked: {_reason(error)}") from None


class _GuardedAdapter(HTTPAdapter):
    """An adapter all of whose connections are made by a `Route`."""

    def __init__(self, route: Route) -> None:
        self._route = route
        super().__init__()

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = _pools_over(self._route.connect_checked)

    def proxy_manager_for(self, proxy: str, **kwargs: Any) -> Any:
        manager = super().proxy_manager_for(proxy, **kwargs)
        if not proxy.lower().startswith("socks"):  # those make connections of their own kind
            manager.pool_classes_by_scheme = _pools_over(self._route.connect_proxy)
        return manager


def _pools_over(connect: Connect) -> dict[str, Any]:
    """urllib3's connection pools, but for where their sockets come from."""

    class Connection(HTTPConnection):
        def _new_conn(self) -> socket.socket:
            return connect(self._dns_host, self.port)

    class TlsConnection(HTTPSConnection):
        def _new_conn(self) -> socket.socket:
            return connect(self._dns_host, self.port)

    class Pool(HTTPConnectionPool):
        ConnectionCls = Connection

    class TlsPool(HTTPSConnectionPool):
        ConnectionCls = TlsConnection

    return {"http": Pool, "https": TlsPool}


def _credentials(url: str) -> HTTPBasicAuth | None:
    """User and password of the URL, in UTF-8; left to itself requests fails outside of Latin-1."""
    user, password = get_auth_from_url(url)
    return HTTPBasicAuth(user.encode(), password.encode()) if user or password else None


def _trusted_certificates() -> str | bool:
    """A private CA's file or folder, else the usual ones (requests itself looks only when it may also use proxies)."""
    return os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("SSL_CERT_FILE") or True


def _without_decoration(host: str) -> str:
    """An address without brackets, zone and final dot: our resolver must not fail at what a proxy may understand."""
    name = host.strip("[]")
    if ":" in name:
        return name.partition("%")[0]
    is_number = re.fullmatch(r"(0x[0-9a-f]*|[0-9]+)", name.rstrip(".").rpartition(".")[2], re.IGNORECASE)
    return name.rstrip(".") if is_number else name


def _refuse(host: str, rule: Rule | None, address: str | None = None) -> None:
    if rule is not None:
        where = host if address in (None, host.strip("[]")) else f"{host} ({address})"
        raise PermanentCallbackError(f"callbacks to {where} are refused: {rule.value}")


def _reason(error: BaseException) -> str:
    """What lies at the bottom of a chain of wrapped errors, which is all that a person needs."""
    for item in (getattr(error, "reason", None), *reversed(error.args)):
        if isinstance(item, BaseException):
            return _reason(item)
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
