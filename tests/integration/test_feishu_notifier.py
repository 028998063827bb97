"""The Feishu notifier against a stand-in server that checks signature, size and rate, and answers as Feishu does."""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Iterator

import pytest
import structlog.testing

from grid_async_task.adapters.feishu import FeishuNotifier
from grid_async_task.adapters.feishu.rate_limit import RateLimit
from grid_async_task.adapters.feishu.webhook import FeishuError, sign
from grid_async_task.domain.errors import ConfigurationError
from grid_async_task.ports import Notice
from tests.servers.feishu import HOOK, FeishuServer, HandClock, RealClock
from tests.servers.http_receiver import Answer
from tests.waiting import quickest

LONG_TRACEBACK = "Traceback (most recent call last):\n" + "".join(
    f'  File "/app/模块.py", line {number}, in <module>\n    "quoted" \\ {number}\n' for number in range(3000)
)


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def feishu(clock: HandClock) -> Iterator[FeishuServer]:
    with FeishuServer(clock) as server:
        yield server


@pytest.fixture
def notifier(feishu: FeishuServer, clock: HandClock) -> Iterator[FeishuNotifier]:
    notifier = FeishuNotifier(feishu.url, clock=clock)
    yield notifier
    notifier.close()


def failed(number: int) -> Notice:
    return Notice("Task failed", {"task": f"Job-{number}", "error": "ValueError"}, f"the traceback of {number}")


# -- what a card says -----------------------------------------------------------------------------


def test_the_signature_is_feishus() -> None:
    assert sign("demo", 1599360473) == "l1N0gAcBjdwBvGm1xMjOF0XSyaLRpR7tuO5dHfhAYc8="


def test_the_card_is_red_has_the_title_and_names_the_host(feishu: FeishuServer, notifier: FeishuNotifier) -> None:
    notifier.notify(failed(1))
    [card] = feishu.cards
    assert card["header"]["template"] == "red"
    assert card["header"]["title"] == {"tag": "plain_text", "content": "Task failed"}
    [text] = feishu.texts()
    assert f"**host**\n{socket.gethostname()}" in text
    assert "the traceback of 1" in text


def test_the_newest_lines_of_a_traceback_come_first_and_the_others_are_folded(
    feishu: FeishuServer, notifier: FeishuNotifier
) -> None:
    notifier.notify(Notice("Task failed", {}, "\n".join(f"line {number}" for number in range(1, 31))))
    *_, newest, panel = feishu.cards[0]["elements"]
    assert newest["text"]["content"].splitlines() == [f"line {number}" for number in range(19, 31)]
    assert panel["tag"] == "collapsible_panel"
    assert panel["expanded"] is False
    assert panel["elements"][0]["text"]["content"].splitlines() == [f"line {number}" for number in range(1, 19)]


HUGE = {
    "a long traceback": Notice("Task failed", {"task": "Job-1"}, LONG_TRACEBACK),
    "one endless line": Notice("Task failed", {"task": "Job-1"}, '"\\\n\x00' + "文" * 100_000),
    "a traceback of control characters": Notice("Task failed", {"task": "Job-1"}, "\x01" * 50_000),
    "a long title": Notice("文" * 50_000, {"task": "Job-1"}, LONG_TRACEBACK),
    "long facts": Notice("Task failed", {f"fact {n}": "_<*" * 10_000 for n in range(50)}, LONG_TRACEBACK),
    "many facts": Notice("Task failed", {f"{'n' * 300} {n}": "v" for n in range(1000)}, LONG_TRACEBACK),
    "lone surrogates": Notice("\ud83d", {"\udc00": "\ud83d" * 10_000}, "\ud83d" * 50_000),
}


@pytest.mark.parametrize("notice", HUGE.values(), ids=HUGE)
def test_a_whole_request_stays_within_feishus_limit(notice: Notice, clock: HandClock) -> None:
    with FeishuServer(clock, secret="demo") as feishu:
        FeishuNotifier(feishu.url, "demo", clock=clock).notify(notice)
        [request] = feishu.receiver.requests
        assert len(request.body) < 20_000
        assert len(feishu.cards) == 1


def test_the_end_of_a_long_traceback_survives_and_the_room_is_used(
    feishu: FeishuServer, notifier: FeishuNotifier
) -> None:
    notifier.notify(HUGE["a long traceback"])
    assert '"quoted" \\ 2999' in feishu.texts()[0]
    assert len(feishu.receiver.requests[0].body) > 19_000


def test_nothing_in_a_notice_can_call_the_group_or_become_markup(
    feishu: FeishuServer, notifier: FeishuNotifier
) -> None:
    evil = "<at id=all></at> **bold** [link](http://evil.example)"
    notifier.notify(Notice(evil, {evil: evil}, f"{evil}\n" * 30))
    raw = feishu.receiver.requests[0].body.decode()
    assert "<" not in raw
    fact = feishu.cards[0]["elements"][0]["fields"][0]["text"]["content"]
    assert fact.count("**") == 2
    assert "](" not in fact


def test_passwords_in_urls_are_masked_everywhere(feishu: FeishuServer, notifier: FeishuNotifier) -> None:
    url = "amqp://user:hunter2@broker/"
    notifier.notify(Notice(url, {url: url}, f"{url}\n" * 30))
    assert b"hunter2" not in feishu.receiver.requests[0].body


# -- what an answer means -------------------------------------------------------------------------


def test_a_wrong_secret_is_an_error_that_says_what_to_do(clock: HandClock) -> None:
    with FeishuServer(clock, secret="demo") as feishu:
        for secret in (None, "wrong"):
            with pytest.raises(FeishuError, match=r"19021.*FEISHU_SECRET.*clock"):
                FeishuNotifier(feishu.url, secret, clock=clock).notify(failed(1))
        FeishuNotifier(feishu.url, "demo", clock=clock).notify(failed(1))
        assert len(feishu.cards) == 1


@pytest.mark.parametrize(
    ("code", "cure"), [(19001, "FEISHU_WEBHOOK_URL"), (19022, "allow list"), (19024, "keyword"), (11246, "said so")]
)
def test_an_error_code_is_an_error_though_the_http_status_is_200(
    feishu: FeishuServer, notifier: FeishuNotifier, code: int, cure: str
) -> None:
    feishu.fail_next(code, "said so")
    with pytest.raises(FeishuError, match=f"{code}.*{cure}"):
        notifier.notify(failed(1))
    notifier.notify(failed(2))
    assert len(feishu.cards) == 1


@pytest.mark.parametrize("body", [b"", b"<html>bad gateway</html>", b"[]", b"{}", b"7", b"\xff"])
def test_an_answer_that_is_not_feishus_is_an_error(feishu: FeishuServer, notifier: FeishuNotifier, body: bytes) -> None:
    feishu.receiver.answer_with([Answer(200, body=body)])
    with pytest.raises(FeishuError, match="without a code"):
        notifier.notify(failed(1))


@pytest.mark.parametrize(
    ("code", "message", "status"), [(11232, "frequency limited", 200), (9499, "Too Many Requests", 400)]
)
def test_a_notice_that_feishu_had_no_room_for_is_told_later_and_whole(
    feishu: FeishuServer, notifier: FeishuNotifier, clock: HandClock, code: int, message: str, status: int
) -> None:
    feishu.fail_next(code, message, status, times=3)
    notifier.notify(failed(1))
    for pause_s in (1.0, 2.0, 4.0):
        clock.wait_for_a_waiter()
        seen = len(feishu.receiver.requests)
        clock.advance(pause_s)
        feishu.receiver.wait_for(seen + 1)
    notifier.close()
    assert feishu.codes == [code, code, code, 0]
    [text] = feishu.texts()
    assert "the traceback of 1" in text


def test_9499_for_another_reason_is_an_error_at_once(feishu: FeishuServer, notifier: FeishuNotifier) -> None:
    feishu.fail_next(9499, "Bad Request", status=400)
    with pytest.raises(FeishuError, match="9499"):
        notifier.notify(failed(1))


# -- bursts ---------------------------------------------------------------------------------------


def test_a_burst_becomes_five_cards_and_one_that_counts_the_others(
    feishu: FeishuServer, notifier: FeishuNotifier, clock: HandClock
) -> None:
    for number in range(1, 31):
        notifier.notify(failed(number))
    assert len(feishu.cards) == 5
    clock.wait_for_a_waiter()
    clock.advance(1.0)
    feishu.receiver.wait_for(6)
    notifier.close()
    folded = feishu.texts()[5]
    assert "25 notices" in folded
    assert "Task failed (task: Job-6)" in folded
    assert "Task failed (task: Job-15)" in folded
    assert "and 15 more" in folded
    assert socket.gethostname() in folded
    assert set(feishu.codes) == {0}


def test_a_single_notice_that_was_held_back_is_told_whole(
    feishu: FeishuServer, notifier: FeishuNotifier, clock: HandClock
) -> None:
    for number in range(1, 7):
        notifier.notify(failed(number))
    clock.wait_for_a_waiter()
    clock.advance(1.0)
    feishu.receiver.wait_for(6)
    notifier.close()
    assert "the traceback of 6" in feishu.texts()[5]


def test_a_thousand_notices_within_a_minute_are_all_counted(
    feishu: FeishuServer, notifier: FeishuNotifier, clock: HandClock
) -> None:
    for number in range(1000):
        notifier.notify(failed(number))
        clock.advance(0.06)
    let_all_be_told(clock)
    assert sum(notices_in(text) for text in feishu.texts()) == 1000


def test_what_comes_while_a_folded_card_fails_is_counted_with_it(
    feishu: FeishuServer, notifier: FeishuNotifier, clock: HandClock
) -> None:
    for number in range(1, 7):
        notifier.notify(failed(number))
    clock.wait_for_a_waiter()
    feishu.receiver.answer_with([Answer(body=b'{"code":11232}', delay_s=1)])
    clock.advance(1.0)
    feishu.receiver.wait_for(6)
    for number in range(7, 13):
        notifier.notify(failed(number))
    let_all_be_told(clock)
    assert sum(notices_in(text) for text in feishu.texts()) == 12


def test_the_limit_is_five_cards_a_second_and_a_hundred_a_minute() -> None:
    limit = RateLimit()
    sent_at = []
    now = 0.0
    while now < 120:
        wait_s = limit.wait_s(now)
        assert wait_s >= 0
        now += wait_s
        limit.count(now)
        sent_at.append(now)
    for moment in sent_at:
        assert sum(moment - 1 < other <= moment for other in sent_at) <= 5
        assert sum(moment - 60 < other <= moment for other in sent_at) <= 100
    assert len(sent_at) > 200


def test_what_is_held_back_is_told_when_the_notifier_closes() -> None:
    clock = RealClock()
    with FeishuServer(clock) as feishu:
        notifier = FeishuNotifier(feishu.url, clock=clock)
        for number in range(1, 9):
            notifier.notify(failed(number))
        notifier.close()  # within the same second, in which a sixth card would be refused
        assert len(feishu.cards) == 6
        assert sum(notices_in(text) for text in feishu.texts()) == 8


def test_what_feishu_refuses_when_the_notifier_closes_is_tried_again() -> None:
    clock = RealClock()
    with FeishuServer(clock) as feishu:
        notifier = FeishuNotifier(feishu.url, clock=clock)
        feishu.fail_next(11232, "frequency limited", times=2)
        notifier.notify(failed(1))
        notifier.notify(failed(2))
        notifier.close()
        [text] = feishu.texts()
        for expected in ("2 notices", "Job-1", "Job-2"):
            assert expected in text


def test_what_can_not_be_told_in_the_end_is_logged_as_an_error_with_its_count() -> None:
    clock = RealClock()
    with FeishuServer(clock) as feishu, structlog.testing.capture_logs() as lines:
        feishu.always_fail(11232, "frequency limited")
        notifier = FeishuNotifier(feishu.url, clock=clock)
        notifier.notify(failed(1))
        notifier.notify(failed(2))
        notifier.close()
    [line] = [line for line in lines if line["event"] == "notices not told"]
    assert line["log_level"] == "error"
    assert line["count"] == 2
    assert "too many requests" in line["reason"]


def test_a_feishu_that_does_not_answer_does_not_hold_up_the_end() -> None:
    clock = RealClock()

    def close() -> float:
        feishu.fail_next(11232, "frequency limited")
        notifier = FeishuNotifier(feishu.url, clock=clock)
        notifier.notify(failed(1))
        feishu.receiver.answer_with([Answer(delay_s=30)])
        started = clock.monotonic()
        notifier.close()
        return clock.monotonic() - started

    with FeishuServer(clock) as feishu, structlog.testing.capture_logs() as lines:
        assert quickest(close, 7.0) < 7.0
    for flusher in flushers():  # the server is gone, and so is what held it up
        flusher.join(10)
    assert {line["count"] for line in lines if line["event"] == "notices not told"} == {1}


def test_no_thread_is_left_when_nothing_is_held_back(
    feishu: FeishuServer, notifier: FeishuNotifier, clock: HandClock
) -> None:
    notifier.notify(failed(1))
    assert flushers() == []
    for number in range(5):
        notifier.notify(failed(number))
    [flusher] = flushers()
    clock.wait_for_a_waiter()
    clock.advance(1.0)
    flusher.join(10)
    assert flushers() == []
    assert len(feishu.cards) == 6


# -- the address is a secret ----------------------------------------------------------------------


def test_the_address_is_in_no_error_no_repr_and_no_log(
    feishu: FeishuServer, clock: HandClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    notifier = FeishuNotifier(feishu.url, "sesame", clock=clock)
    shown = [repr(notifier), repr(vars(notifier))]
    feishu.fail_next(404, f"no route for {HOOK}")
    feishu.receiver.answer_with([Answer(hang_up=True)])
    for _ in range(2):
        with pytest.raises(FeishuError) as caught:
            notifier.notify(failed(1))
        shown.append(str(caught.value))
    notifier.notify(failed(1))
    assert "Starting new HTTP connection" in caplog.text  # the log does reach us
    for text in (*shown, caplog.text):
        assert "very-secret" not in text
        assert "sesame" not in text


@pytest.mark.parametrize(
    "url", ["", "open.feishu.cn/hook/very-secret", "https://", "https://open.feishu.cn", "ftp://a/very-secret"]
)
def test_an_address_that_is_none_is_a_configuration_error_that_does_not_show_it(url: str, clock: HandClock) -> None:
    with pytest.raises(ConfigurationError, match="FEISHU_WEBHOOK_URL") as caught:
        FeishuNotifier(url, clock=clock)
    assert "very-secret" not in str(caught.value)


def test_a_proxy_of_the_environment_is_used(
    feishu: FeishuServer, clock: HandClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{feishu.receiver.port}")
    notifier = FeishuNotifier(f"http://open.feishu.invalid{HOOK}", clock=clock)
    feishu.receiver.answer_with([Answer(200, body=b'{"code":0}')])
    notifier.notify(failed(1))
    assert feishu.receiver.requests[0].path == f"http://open.feishu.invalid{HOOK}"


def flushers() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "feishu-held-back"]


def let_all_be_told(clock: HandClock) -> None:
    for flusher in flushers():
        while flusher.is_alive():
            clock.advance(61)
            flusher.join(0.05)


def notices_in(text: str) -> int:
    first_line = text.splitlines()[0]
    return int(first_line.split()[0]) if "notices within" in first_line else 1
