"""The interactive card that a notice becomes, within Feishu's limit for a whole request."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from grid_async_task.domain.failure import shown
from grid_async_task.ports.notifier import Notice

#: bytes of a request's body; Feishu refuses more than 20 KB
MAX_BODY_BYTES = 20_000
#: bytes that timestamp and signature add to the body
SIGNATURE_BYTES = 200
#: bytes of a card's title, of a fact's name and of its value, and of all facts together, in JSON
MAX_TITLE_BYTES = 400
MAX_NAME_BYTES = 150
MAX_VALUE_BYTES = 2_000
MAX_FACTS_BYTES = 8_000
#: lines of a traceback that are shown at once; what came before them is folded away
TAIL_LINES = 12
MAX_TAIL_BYTES = 4_000
#: values up to this many characters stand side by side
SHORT_VALUE_CHARACTERS = 30

_CUT = " …"
#: what lark_md would read as markup; without `<` no `<at id=all></at>` from a traceback calls the whole group
_MARKUP = str.maketrans({character: f"&#{ord(character)};" for character in "<>*_~`[]()!#\\&"})
#: plain text knows no entities, so there `<` becomes its full-width twin
_NO_TAGS = str.maketrans({"<": "\uff1c"})


def card_of(notice: Notice) -> dict[str, Any]:
    """The card, with the newest lines of the traceback first and the others folded away."""
    card = _card(notice.title, _facts(notice.facts))
    lines = notice.traceback.rstrip().splitlines()
    if lines:
        tail = _last("\n".join(lines[-TAIL_LINES:]), MAX_TAIL_BYTES)
        card["elements"] += [{"tag": "hr"}, _text(tail)]
    if len(lines) > TAIL_LINES:
        panel = _folded("traceback, earlier lines")
        room = MAX_BODY_BYTES - SIGNATURE_BYTES - size_of(body_of({**card, "elements": [*card["elements"], panel]}))
        panel["elements"][0]["text"]["content"] = _last("\n".join(lines[:-TAIL_LINES]), room)
        card["elements"].append(panel)
    return card


def folded_card_of(first: Sequence[Notice], count: int, facts: dict[str, str]) -> dict[str, Any]:
    """One card for `count` notices, that names the first of them."""
    lines = [_first(_in_one_line(notice), MAX_TITLE_BYTES) for notice in first]
    if count > len(first):
        lines.append(f"… and {count - len(first)} more")
    card = _card(f"{count} notices within a short time", _facts(facts))
    card["elements"] += [{"tag": "hr"}, _text("\n".join(lines))]
    return card


def body_of(card: dict[str, Any]) -> dict[str, Any]:
    return {"msg_type": "interactive", "card": card}


def encoded(body: dict[str, Any]) -> bytes:
    """The body as it is sent."""
    return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode("utf-8")


def size_of(value: Any) -> int:
    """Bytes of the value in a request."""
    return len(encoded(value))


def _in_one_line(notice: Notice) -> str:
    """The title and the first fact, which says whom it is about."""
    about = next((f" ({name}: {value})" for name, value in notice.facts.items()), "")
    return " ".join(f"{notice.title}{about}".split())


def _card(title: str, fields: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "config": {"wide_screen_mode": True},
        "header": {
            "template": "red",
            "title": {"tag": "plain_text", "content": _first(title, MAX_TITLE_BYTES)},
        },
        "elements": [{"tag": "div", "fields": fields}],
    }


def _facts(facts: dict[str, str]) -> list[dict[str, Any]]:
    fields: list[dict[str, Any]] = []
    for name, value in facts.items():
        if size_of(fields) > MAX_FACTS_BYTES:
            fields.append(_fact("…", f"{len(facts) - len(fields)} more left out"))
            break
        fields.append(_fact(name, value))
    return fields


def _fact(name: str, value: str) -> dict[str, Any]:
    content = f"**{_first(name, MAX_NAME_BYTES, _MARKUP)}**\n{_first(value, MAX_VALUE_BYTES, _MARKUP)}"
    is_short = len(value) <= SHORT_VALUE_CHARACTERS
    return {"is_short": is_short, "text": {"tag": "lark_md", "content": content}}


def _text(content: str) -> dict[str, Any]:
    return {"tag": "div", "text": {"tag": "plain_text", "content": content}}


def _folded(title: str) -> dict[str, Any]:
    """A panel to unfold; clients older than 7.9 show a note in its place."""
    return {
        "tag": "collapsible_panel",
        "expanded": False,
        "header": {"title": {"tag": "plain_text", "content": title}},
        "elements": [_text("")],
    }


def _first(text: str, room: int, escapes: dict[int, str] = _NO_TAGS) -> str:
    """The beginning of the text, escaped, at most so many bytes in JSON."""
    text = shown(text)
    length = _fitting(text, room, escapes)
    return text.translate(escapes) if length == len(text) else text[:length].translate(escapes) + _CUT


def _last(text: str, room: int) -> str:
    """The end of the text, escaped, at most so many bytes in JSON."""
    text = shown(text)
    length = _fitting(text[::-1], room, _NO_TAGS)
    return text.translate(_NO_TAGS) if length == len(text) else _CUT + text[len(text) - length :].translate(_NO_TAGS)


def _fitting(text: str, room: int, escapes: dict[int, str]) -> int:
    """How many characters fit, found by halving: escapes make their size unforeseeable."""
    room -= size_of(_CUT)
    low, high = 0, len(text)
    while low < high:
        middle = (low + high + 1) // 2
        if size_of(text[:middle].translate(escapes)) <= room:
            low = middle
        else:
            high = middle - 1
    return low
