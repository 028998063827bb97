"""Strict JSON: no NaN, no lone surrogates, no endless nesting, so that every database and client can read it."""

from __future__ import annotations

import json
from typing import Any

#: MySQL refuses JSON that is nested more deeply
MAX_DEPTH = 100

# `json.dumps` would make one at each call
_PLAIN, _SORTED = (
    json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"), sort_keys=sort_keys)
    for sort_keys in (False, True)
)


class NotJson(ValueError):
    """The value has no strict JSON form. `kind` says why, in one word of `KINDS`."""

    KINDS = ("number_out_of_range", "lone_surrogate", "too_deep", "not_json")

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


def to_json(value: Any, *, sort_keys: bool = False) -> str:
    """The value as compact JSON text; raises `NotJson`."""
    try:
        text = (_SORTED if sort_keys else _PLAIN).encode(value)
    except RecursionError:
        raise NotJson("too_deep", f"nested more than {MAX_DEPTH} levels deep") from None
    except ValueError as error:
        if "Circular" in str(error):
            raise NotJson("not_json", "it contains itself") from None
        raise NotJson("number_out_of_range", "NaN and infinite numbers are not JSON") from None
    except Exception as error:  # a key or a value of a foreign type, or one whose own code fails
        raise NotJson("not_json", f"not JSON: {type(error).__name__}: {_said_by(error)}") from None
    # a text with few brackets can't be deep, and most texts have few
    if text.count("{") + text.count("[") > MAX_DEPTH and depth_of(value) > MAX_DEPTH:
        raise NotJson("too_deep", f"nested more than {MAX_DEPTH} levels deep")
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise NotJson("lone_surrogate", "a text holds half of a surrogate pair, which has no UTF-8 form") from None
    return text


def depth_of(value: Any) -> int:
    """How many levels of objects and arrays the value has; a bare number has none."""
    deepest = 0
    level = [value]
    while level:
        inner: list[Any] = []
        for item in level:
            if isinstance(item, dict):
                inner.extend(item.values())
            elif isinstance(item, (list, tuple)):
                inner.extend(item)
            else:
                continue
        if not any(isinstance(item, (dict, list, tuple)) for item in level):
            return deepest
        deepest += 1
        if deepest > MAX_DEPTH:
            return deepest
        level = inner
    return deepest


def _said_by(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:
        return "(its text can't be shown)"
