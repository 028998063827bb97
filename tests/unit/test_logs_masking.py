"""No secret in a log line, in whatever form it got there."""

from __future__ import annotations

import json
from typing import Any

import pytest

from grid_async_task import Settings
from grid_async_task.logs.masking import SecretMask, secrets_of

PASSWORD = "p@ss:w/ord#%"
#: what nobody wants in a password, and somebody has
UNUSUAL = [PASSWORD, 'quo"te', "apo'strophe", "both\"'of", "back\\slash", "密码密码", "a b c d", "100%25", "$\\d+^.*[x"]


def masked(settings: Settings, **event: Any) -> dict[str, Any]:
    mask = SecretMask()
    mask.add(secrets_of(settings))
    return dict(mask(None, "info", event))


def settings_with(password: str) -> Settings:
    return Settings.from_environment(
        {"RABBITMQ_PASSWORD": password, "MYSQL_PASSWORD": f"{password}-of-mysql"}, start_directory="/"
    )


@pytest.mark.parametrize("password", UNUSUAL)
def test_a_password_is_masked_in_every_form(password: str) -> None:
    settings = settings_with(password)
    texts = {
        "plain": f"login with {password} refused",
        "url": f"connecting to {settings.amqp_url}",
        "repr": f"options { ({'password': password})!r}",
        "json": json.dumps({"password": password}),
        "json_of_repr": json.dumps({"answer": repr({"password": password})}, ensure_ascii=False),
    }
    shown = masked(settings, **texts)
    for name, text in texts.items():
        assert shown[name] != text
        assert "***" in shown[name]
        for form in (password, repr(password)[1:-1], json.dumps(password)[1:-1]):
            assert form not in shown[name]


def test_both_passwords_are_masked_and_the_longer_one_as_a_whole() -> None:
    assert masked(settings_with("s3cret"), event="s3cret and s3cret-of-mysql") == {"event": "*** and ***"}


def test_secrets_are_masked_wherever_they_are_in_a_value() -> None:
    class Shown:
        def __repr__(self) -> str:
            return f"<session of {PASSWORD}>"

    shown = masked(
        settings_with(PASSWORD),
        event=f"no {PASSWORD}",
        mapping={"deep": [{"er": (PASSWORD, {PASSWORD: 1})}]},
        anything=Shown(),
        error=ValueError(PASSWORD),
        raw=PASSWORD.encode(),
        count=3,
        nothing=None,
    )
    assert shown == {
        "event": "no ***",
        "mapping": {"deep": [{"er": ["***", {"***": 1}]}]},
        "anything": "<session of ***>",
        "error": "ValueError('***')",
        "raw": "b'***'",
        "count": 3,
        "nothing": None,
    }


def test_the_other_secrets_are_masked() -> None:
    settings = Settings(
        callback_secret=("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "c2Vjb25kLXNlY3JldA=="),
        feishu_webhook_url="https://open.feishu.cn/open-apis/bot/v2/hook/0000-1111-2222",
        feishu_secret="bot-secret",
    )
    shown = masked(
        settings,
        signing="whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        old="c2Vjb25kLXNlY3JldA==",
        bot="signed with bot-secret",
        webhook=str(settings.feishu_webhook_url),
        pool="Max retries exceeded with url: /open-apis/bot/v2/hook/0000-1111-2222 (Caused by ...)",
    )
    assert shown == {
        "signing": "whsec_***",
        "old": "***",
        "bot": "signed with ***",
        "webhook": "***",
        "pool": "Max retries exceeded with url: /open-apis/bot/v2/hook/*** (Caused by ...)",
    }


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("redis://:pw@cache:6379/0", "redis://:***@cache:6379/0"),
        (f"postgresql://me:{PASSWORD}@db/x, then", "postgresql://me:***@db/x, then"),
        ("ftp://u:a@h and ftp://v:b@h", "ftp://u:***@h and ftp://v:***@h"),
        ("'amqp://u:x@h:5672/' \"amqp://u:y@h\"", "'amqp://u:***@h:5672/' \"amqp://u:***@h\""),
        ("GET https://h/x?access_token=abc&page=2", "GET https://h/x?access_token=***&page=2"),
    ],
)
def test_passwords_of_other_urls_are_masked(text: str, shown: str) -> None:
    assert masked(Settings(), event=text) == {"event": shown}


@pytest.mark.parametrize(
    "text", ["listening on http://0.0.0.0:8000.", "mail me@example.com: done", "http://h:80/a?b=c", "12:30:00 a@b"]
)
def test_what_holds_no_password_is_left_as_it_is(text: str) -> None:
    assert masked(settings_with("unrelated"), event=text) == {"event": text}


def test_words_that_are_no_secret_stay() -> None:
    settings = settings_with("guest")
    assert masked(settings, event="the guest's password")["event"] == "the guest's password"
    assert masked(settings, event=settings.amqp_url)["event"] == "amqp://guest:***@localhost:5672/%2F"


def test_any_value_becomes_plain_json() -> None:
    class Unshowable:
        def __repr__(self) -> str:
            raise RuntimeError("no")

    loop: list[Any] = []
    loop.append(loop)
    shown = masked(
        Settings(), broken=Unshowable(), loop=loop, nan=float("nan"), keys={1: "a", None: {b"x"}}, lone="\ud800"
    )
    json.dumps(shown, allow_nan=False)
    assert shown["broken"] == "<Unshowable, whose repr() raised RuntimeError>"
    assert shown["nan"] == "nan"
    assert shown["keys"] == {"1": "a", "None": ["b'x'"]}
