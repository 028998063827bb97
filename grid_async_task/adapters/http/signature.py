"""Signing by the Standard Webhooks convention (standardwebhooks.com), as receivers' libraries check it."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Sequence

from grid_async_task.domain.errors import ConfigurationError

_SECRET_PREFIX = "whsec_"


def key_of(secret: str) -> bytes:
    """The key inside a secret: base64, with or without the prefix `whsec_`. Raises `ConfigurationError`."""
    try:
        key = base64.b64decode(secret.strip().removeprefix(_SECRET_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not key:
        # `from None` and no value: the secret must not get into a log
        raise ConfigurationError(
            "CALLBACK_SECRET: a secret is whsec_ followed by base64; "
            'make one with: echo "whsec_$(openssl rand -base64 32)"'
        ) from None
    return key


def signature_headers(callback_id: str, timestamp_s: int, body: bytes, keys: Sequence[bytes]) -> dict[str, str]:
    """The headers that prove where the body comes from. Several keys, while one replaces another, sign it each."""
    signed = b"%s.%d.%s" % (callback_id.encode(), timestamp_s, body)
    signatures = [base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode() for key in keys]
    return {
        "webhook-timestamp": str(timestamp_s),
        "webhook-signature": " ".join(f"v1,{signature}" for signature in signatures),
    }
