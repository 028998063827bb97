"""The addresses of broker and database: checked and brought into one form, or put together from parts."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import SplitResult, quote, urlsplit, urlunsplit

_AMQP_ALLOWED = (
    "amqp://user:password@host:5672/vhost (also amqps://), sqlite:///FILE or memory://, "
    "special characters of the password percent-encoded"
)
_MYSQL_ALLOWED = (
    "mysql+pymysql://user:password@host:3306/database (also mysql://), sqlite:///FILE or memory://, "
    "special characters of the password percent-encoded"
)


def amqp_url(value: Any) -> str:
    """Where the messages are."""
    address = str(value).strip()
    if _is_embedded(address):
        return address
    return urlunsplit(_server(address, ("amqp", "amqps"), _AMQP_ALLOWED))


def mysql_url(value: Any) -> str:
    """Where the table is. The driver and the character set are named in the result."""
    address = str(value).strip()
    if _is_embedded(address):
        return address
    parts = _server(address, ("mysql", "mysql+pymysql"), _MYSQL_ALLOWED)
    if len(parts.path) < 2:
        raise ValueError(_MYSQL_ALLOWED)
    query = parts.query
    if not re.search(r"(^|&)charset=", query):
        # the server's default may be latin1, which can't hold what people write
        query += ("&" if query else "") + "charset=utf8mb4"
    return urlunsplit(parts._replace(scheme="mysql+pymysql", query=query))


def join_url(scheme: str, *, user: str, password: str, host: str, port: int, path: str) -> str:
    """A URL of parts that may hold any character."""
    if ":" in host and not host.startswith("["):
        host = f"[{host}]"
    return f"{scheme}://{_encoded(user)}:{_encoded(password)}@{host}:{port}/{_encoded(path)}"


def _is_embedded(address: str) -> bool:
    return address == "memory://" or (address.startswith("sqlite:///") and len(address) > len("sqlite:///"))


def _server(address: str, schemes: tuple[str, ...], allowed: str) -> SplitResult:
    try:
        parts = urlsplit(address)
        port = parts.port
    except ValueError:  # among others: a `/` in the password has cut the address short
        raise ValueError(allowed) from None
    if parts.scheme not in schemes or not parts.hostname or port == 0 or re.search(r"\s", address):
        raise ValueError(allowed)
    # behind the host these can only be the rest of a password that was not encoded
    if "@" in parts.path + parts.query or parts.fragment or address.endswith("#"):
        raise ValueError(allowed)
    userinfo, at, host = parts.netloc.rpartition("@")
    return parts._replace(netloc=userinfo.replace("@", "%40") + at + host)


def _encoded(part: str) -> str:
    return quote(part, safe="")
