"""Secrets, wherever they occur in an event."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Iterator
from typing import Any
from urllib.parse import quote, quote_plus, unquote, urlsplit

from structlog.typing import EventDict

from grid_async_task.domain.errors import TimeoutError
from grid_async_task.settings import Settings, mask_url
from grid_async_task.settings.masking import MASK

#: characters; of a shorter secret every second line would have a piece. URLs are masked whatever the length
SHORTEST = 4
#: passwords that stand in every manual, and words that a log needs
_NO_SECRETS = frozenset({"guest", "password"})
#: deeper values are shown as the text that Python makes of them
_MAX_DEPTH = 8

_URL = re.compile(r"""[a-z][a-z0-9+.\-]*://[^\s"'<>]+""", re.IGNORECASE)


class SecretMask:
    """A structlog processor that makes any event plain JSON data without secrets. Takes any value there is.

    Hides the secrets that it was told, in each form in which they get into a text, and the
    passwords of all URLs.
    """

    def __init__(self) -> None:
        self._forms: list[str] = []

    def add(self, secrets: Iterable[str]) -> None:
        """Hide these too."""
        forms = {form for secret in secrets for form in _forms(secret)}
        # the longest first: it may hold a shorter one
        self._forms = sorted(forms.union(self._forms), key=len, reverse=True)

    def __call__(self, logger: object, method: str, event: EventDict) -> EventDict:
        return {name: self._value(value, 0) for name, value in event.items()}

    def _value(self, value: Any, depth: int) -> Any:
        if isinstance(value, str):
            return self._text(value)
        if value is None or isinstance(value, int):
            return value
        if isinstance(value, float):
            return value if math.isfinite(value) else repr(value)
        if depth < _MAX_DEPTH:
            if isinstance(value, dict):
                return {self._key(key): self._value(each, depth + 1) for key, each in list(value.items())}
            if isinstance(value, (list, tuple, set, frozenset)):
                return [self._value(each, depth + 1) for each in list(value)]
        return self._text(shown_value(value))

    def _key(self, key: Any) -> str:
        return self._text(key if isinstance(key, str) else shown_value(key))

    def _text(self, text: str) -> str:
        for form in self._forms:
            if form in text:
                text = text.replace(form, MASK)
        return _URL.sub(_masked_url, text) if "://" in text else text


#: the one of this process: secrets of all its settings
mask_secrets = SecretMask()


def secrets_of(settings: Settings) -> Iterator[str]:
    """What must not be seen of these settings."""
    for url in (settings.amqp_url, settings.mysql_url):
        password = urlsplit(url or "").password
        if password:
            yield password
            yield unquote(password)
    for signing_secret in settings.callback_secret:
        yield signing_secret.removeprefix("whsec_")
    if settings.feishu_secret:
        yield settings.feishu_secret
    if settings.feishu_webhook_url:
        yield settings.feishu_webhook_url
        # errors of HTTP libraries name only the path; its last part is the key to the group
        yield urlsplit(settings.feishu_webhook_url).path.rpartition("/")[2]


def shown_value(value: object) -> str:
    """Any object as a text, also one that can't be shown."""
    try:
        return repr(value)
    except TimeoutError:
        raise  # the task's time limit, which struck here
    except Exception as error:
        return f"<{type(value).__name__}, whose repr() raised {type(error).__name__}>"


def _forms(secret: str) -> set[str]:
    """How a secret looks in texts: as it is, in a URL, and in what Python or JSON make of either."""
    if len(secret) < SHORTEST or secret in _NO_SECRETS:
        return set()
    plain = {secret, quote(secret), quote(secret, safe=""), quote_plus(secret)}
    shown = plain | {repr(form)[1:-1] for form in plain}
    return shown | {json.dumps(form, ensure_ascii=ascii_only)[1:-1] for form in shown for ascii_only in (True, False)}


def _masked_url(match: re.Match[str]) -> str:
    url = match[0]
    # without either there is nothing to hide, and mask_url takes more for a password than a log should
    return mask_url(url) if "@" in url or "=" in url else url
