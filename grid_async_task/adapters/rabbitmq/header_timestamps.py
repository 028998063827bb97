"""A message whose header holds a time that no calendar knows is still a message.

Clients that give AMQP's timestamp in milliseconds, where seconds are meant, are common. pika raises
on such a one in the middle of reading from the socket: the connection ends, the message comes
again, and so for ever.
"""

from __future__ import annotations

import struct
from typing import Any

import pika.data

_TIMESTAMP = b"T"
_SIZE = 9


def accept_any_timestamp() -> None:
    """Have pika give the bare number where it can't make a date of it. Harmless when repeated."""
    decode_value = pika.data.decode_value
    if hasattr(decode_value, "accepts_any_timestamp"):
        return

    def decode(encoded: bytes, offset: int) -> tuple[Any, int]:
        try:
            return decode_value(encoded, offset)
        except (ValueError, OverflowError, OSError):
            if encoded[offset : offset + 1] != _TIMESTAMP:
                raise
            return struct.unpack_from(">Q", encoded, offset + 1)[0], offset + _SIZE

    decode.accepts_any_timestamp = True  # type: ignore[attr-defined]
    pika.data.decode_value = decode
