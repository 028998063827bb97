"""How far a task has come, as its handler reports it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

#: characters of the text that are kept (the column holds no more)
MAX_MESSAGE_CHARACTERS = 500


@dataclass(frozen=True)
class Progress:
    """A share done, 0 to 100, and what is going on."""

    percent: int
    message: str = ""

    @classmethod
    def of(cls, percent: Any, message: Any = "") -> Progress:
        """Clamp and cut whatever a handler reported: progress never fails a task (SPEC section 6)."""
        try:
            number = float(percent)
            share = 0 if math.isnan(number) else int(min(100.0, max(0.0, number)))
        except BaseException:  # a handler's own object may raise anything, and this is our thread
            share = 0
        try:
            text = "" if message is None else str(message)
        except BaseException:
            text = ""
        text = text.encode("utf-8", "replace").decode("utf-8")
        return cls(share, text[:MAX_MESSAGE_CHARACTERS])
