"""One request to a Feishu custom bot, and what its answer means."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import logging
import os
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

from grid_async_task.adapters.feishu.card import body_of, encoded
from grid_async_task.domain.errors import ConfigurationError, GridAsyncTaskError

#: error codes that stay until a person does something, and what
_CURES = {
    19001: "the bot does not exist: set FEISHU_WEBHOOK_URL to the address that the group's bot settings show",
    19021: "the signature does not match: check FEISHU_SECRET, and that this machine's clock is right (within an hour)",
    19022: "the bot does not accept this machine's IP address: add it to the bot's allow list",
    19024: "the bot asks for a keyword: put one that every card contains into its settings, or switch keywords off",
}
_RATE_LIMITED = 11232
_SOMETIMES_RATE_LIMITED = 9499
_MAX_ANSWER_CHARACTERS = 200


class FeishuError(GridAsyncTaskError):
    """Feishu did not take the card."""


class FeishuBusy(FeishuError):
    """Feishu did not take the card now, for it had too many; later it may."""


class FeishuRefused(FeishuError):
    """Feishu will not take any card until a person changes something."""


class Webhook:
    """The bot's address, which is a secret: whoever knows it can write to the group."""

    def __init__(self, url: str, secret: str | None) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or len(parts.path) < 2:
            raise ConfigurationError(
                "FEISHU_WEBHOOK_URL must look like https://open.feishu.cn/open-apis/bot/v2/hook/..., "
                "as the group's bot settings show it"
            )
        self._url = url
        self._host = parts.hostname
        self._path = parts.path
        self._secret = secret
        self._silence = _Silence(parts.path)

    def send(self, card: dict[str, Any], now: datetime, timeout_s: float) -> None:
        """Send one card. Raises `FeishuError`."""
        import requests  # takes a good part of a cold start, and most workers have nothing to tell

        body = body_of(card)
        if self._secret:
            timestamp_s = int(now.timestamp())
            body = {"timestamp": str(timestamp_s), "sign": sign(self._secret, timestamp_s), **body}
        self._silence.keep()
        failure = None
        try:
            # Proxies come from the environment. Private certificates too, but requests knows only one of the names.
            answer = requests.post(
                self._url,
                data=encoded(body),
                headers={"Content-Type": "application/json; charset=utf-8"},
                timeout=timeout_s,
                allow_redirects=False,
                verify=os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("SSL_CERT_FILE") or True,
            )
        except (requests.RequestException, OSError) as error:
            failure = type(error).__name__  # its text would show the address
        if failure is not None:
            raise FeishuError(f"{self._host} could not be asked: {failure}")
        judge(answer.status_code, answer.content, hidden=self._path)


def sign(secret: str, timestamp_s: int) -> str:
    """Feishu's own way: the text to sign is the key, and the message is empty."""
    key = f"{timestamp_s}\n{secret}".encode()
    return base64.b64encode(hmac.digest(key, b"", hashlib.sha256)).decode()


def judge(status: int, content: bytes, *, hidden: str) -> None:
    """Return if the answer means that the card was taken; raise `FeishuError` if not. The HTTP status says little.

    `hidden` is masked in what the answer says: gateways like to repeat the path.
    """
    try:
        answer = json.loads(content)
        code = answer.get("code", answer.get("StatusCode"))
    except (ValueError, AttributeError):
        answer, code = {}, None
    if code == 0:
        return
    said = str(answer.get("msg") or answer.get("StatusMessage") or "")
    is_9499 = code == _SOMETIMES_RATE_LIMITED and "too many request" in said.lower()
    if status == 429 or code == _RATE_LIMITED or is_9499:
        raise FeishuBusy(f"Feishu had too many requests (HTTP {status}, code {code})")
    if code is None:
        raise FeishuError(f"Feishu answered HTTP {status} without a code: is something in between?")
    if code in _CURES:
        raise FeishuRefused(f"Feishu refused the card (code {code}): {_CURES[code]}")
    said = said.replace(hidden, "***")[:_MAX_ANSWER_CHARACTERS]
    raise FeishuError(f"Feishu refused the card (HTTP {status}, code {code}): {said}")


class _Silence(logging.Filter):
    """urllib3 logs the path of each request at DEBUG, and this path is a secret."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self._path = path

    def keep(self) -> None:
        logging.getLogger("urllib3.connectionpool").addFilter(self)  # a second time changes nothing

    def filter(self, record: logging.LogRecord) -> bool:
        return self._path not in record.getMessage()
