"""A stand-in for Feishu's custom bots: it checks what Feishu checks, and answers as Feishu does."""

from __future__ import annotations

import base64
import hashlib
import hmac
import html
import json
import threading
import time
from collections import deque
from datetime import datetime, timedelta, timezone
from types import TracebackType
from typing import Any

from grid_async_task.ports import Clock
from tests.servers.http_receiver import Answer, HttpReceiver, Request

MAX_BODY_BYTES = 20_000
HOOK = "/open-apis/bot/v2/hook/0123-very-secret"


class HandClock(Clock):
    """Stands still until the test moves it; who waits, waits."""

    def __init__(self) -> None:
        self._passed_s = 0.0
        self._waiters = 0
        self._changed = threading.Condition()

    def now(self) -> datetime:
        return datetime(2024, 1, 15, 10, 30, tzinfo=timezone.utc) + timedelta(seconds=self._passed_s)

    def monotonic(self) -> float:
        return self._passed_s

    def wait(self, event: threading.Event, seconds: float) -> bool:
        with self._changed:
            until = self._passed_s + seconds
            self._waiters += 1
            self._changed.notify_all()
            while self._passed_s < until and not event.is_set():
                self._changed.wait(0.01)  # the event can't notify the condition
            self._waiters -= 1
            return event.is_set()

    def advance(self, seconds: float) -> None:
        with self._changed:
            self._passed_s += seconds
            self._changed.notify_all()

    def wait_for_a_waiter(self) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: self._waiters > 0, 10), "nobody waits"


class RealClock(Clock):
    def now(self) -> datetime:
        return datetime.now(timezone.utc)

    def monotonic(self) -> float:
        return time.monotonic()

    def wait(self, event: threading.Event, seconds: float) -> bool:
        return event.wait(seconds)


class FeishuServer:
    """`with FeishuServer(clock) as feishu`: one bot, at `feishu.url`."""

    def __init__(self, clock: Clock, secret: str | None = None) -> None:
        self.receiver = HttpReceiver()
        self.cards: list[dict[str, Any]] = []
        self.codes: list[int] = []
        self._clock = clock
        self._secret = secret
        self._taken_at: deque[float] = deque(maxlen=100)
        self._failures: deque[Answer] = deque()
        self._broken: Answer | None = None
        self.receiver.answer_by(self._answer)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.receiver.port}{HOOK}"

    def fail_next(self, code: int, message: str = "", status: int = 200, times: int = 1) -> None:
        self._failures.extend([_answer(code, message, status)] * times)

    def always_fail(self, code: int, message: str = "") -> None:
        self._broken = _answer(code, message)

    def texts(self) -> list[str]:
        """What a person reads of each card that was taken."""
        return [text_of(card) for card in self.cards]

    def __enter__(self) -> FeishuServer:
        self.receiver.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.receiver.__exit__(kind, error, traceback)

    def _answer(self, request: Request) -> Answer:
        answer = self._broken or (self._failures.popleft() if self._failures else self._judge(request))
        self.codes.append(json.loads(answer.body)["code"])
        return answer

    def _judge(self, request: Request) -> Answer:
        if request.path != HOOK:
            return _answer(19001, "param invalid: incoming webhook access token invalid")
        if len(request.body) > MAX_BODY_BYTES:
            return _answer(9499, "Bad Request: request body too large", status=400)
        body = json.loads(request.body)
        if self._secret is not None and not self._is_signed(body):
            return _answer(19021, "sign match fail or timestamp is not within one hour from current time")
        now = self._clock.monotonic()
        if self._taken_since(now - 1.0) >= 5 or self._taken_since(now - 60.0) >= 100:
            return _answer(11232, "frequency limited psm[lark.oapi.app_platform_runtime]")
        assert body["msg_type"] == "interactive"
        self._taken_at.append(now)
        self.cards.append(body["card"])
        return _answer(0, "success")

    def _taken_since(self, moment: float) -> int:
        return sum(at > moment for at in self._taken_at)

    def _is_signed(self, body: dict[str, Any]) -> bool:
        timestamp_s = int(body.get("timestamp", 0))
        digest = hmac.new(f"{timestamp_s}\n{self._secret}".encode(), digestmod=hashlib.sha256).digest()
        fresh = abs(self._clock.now().timestamp() - timestamp_s) < 3600
        return fresh and body.get("sign") == base64.b64encode(digest).decode()


def text_of(card: Any) -> str:
    """All texts of a card, one a line, as a client shows them."""
    if isinstance(card, list):
        return "\n".join(map(text_of, card))
    if not isinstance(card, dict):
        return ""
    if card.get("tag") in ("plain_text", "lark_md"):
        content: str = card["content"]
        return html.unescape(content) if card["tag"] == "lark_md" else content
    return "\n".join(filter(None, map(text_of, card.values())))


def _answer(code: int, message: str, status: int = 200) -> Answer:
    body = json.dumps({"code": code, "msg": message, "data": {}}).encode()
    return Answer(status, {"Content-Type": "application/json"}, body)
