"""Showing a value without its secret."""

from __future__ import annotations

import re

MASK = "***"

_SECRET_IN_QUERY = re.compile(
    r"([?&][^=&]*(?:passw|secret|token|key|sig|code|auth|credential)[^=&]*=)[^&]*", re.IGNORECASE
)
_PORT_FOLLOWS = re.compile(r"\d{1,5}(?:[/?]|$)")


def mask(value: object) -> str:
    """For a value that is secret as a whole."""
    return MASK


def mask_url(value: object) -> str:
    """For a URL: all but its secrets. Works on broken URLs too, and there rather hides too much.

    A password may hold any character, also `@`, `/` and `#` that somebody forgot to
    percent-encode; so everything up to the last `@` is taken for it.
    """
    text = str(value)
    scheme, separator, rest = text.partition("://") if "://" in text else ("", "", text)
    if "@" in rest:
        userinfo, _, server = rest.rpartition("@")
        user, colon, _ = userinfo.partition(":")
        if scheme in ("http", "https"):  # a token may stand there, without a password
            user, colon = MASK, ""
        rest = f"{user}:{MASK}@{server}" if colon else f"{user}@{server}"
    else:
        host, colon, port = rest.partition(":")
        if colon and not _PORT_FOLLOWS.match(port):
            rest = f"{host}:{MASK}"
    return scheme + separator + _SECRET_IN_QUERY.sub(rf"\1{MASK}", rest)
