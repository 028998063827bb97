"""The HTTP callback sender against a real server."""

from __future__ import annotations

import base64
import datetime
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from email.utils import format_datetime

import pytest

from grid_async_task.adapters.http import HttpCallbackSender
from grid_async_task.adapters.http.signature import key_of, signature_headers
from grid_async_task.domain.callback import Callback
from grid_async_task.domain.errors import ConfigurationError, PermanentCallbackError
from grid_async_task.ports import CallbackFailed
from tests.servers.http_receiver import HANG_UP, Answer, HttpReceiver, redirect
from tests.waiting import quickest

BODY = '{"task_id":"Job-1","status":"success","result":{"文":"好"}}'.encode()
SECRETS = ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_" + base64.b64encode(b"another key").decode()]


def callback_to(url: str | None) -> Callback:
    return Callback(id="cb_1", task_id="Job-1", type="http", url=url, data={}, body=BODY)


@pytest.fixture
def receiver() -> Iterator[HttpReceiver]:
    with HttpReceiver() as running:
        yield running


def test_what_arrives_is_a_post_of_exactly_the_body(receiver: HttpReceiver) -> None:
    HttpCallbackSender().send(callback_to(receiver.url + "?token=a%20b&c=d"))
    [request] = receiver.requests
    assert (request.method, request.path) == ("POST", "/callback?token=a%20b&c=d")
    assert request.body == BODY
    assert request.headers["content-type"] == "application/json"
    assert request.headers["webhook-id"] == "cb_1"
    assert request.headers["host"] == f"127.0.0.1:{receiver.port}"
    assert "webhook-signature" not in request.headers


def test_with_secrets_each_of_them_signs_what_arrives(receiver: HttpReceiver) -> None:
    before = int(time.time())
    HttpCallbackSender(secrets=SECRETS).send(callback_to(receiver.url))
    [request] = receiver.requests
    sent_at = int(request.headers["webhook-timestamp"])
    assert before <= sent_at <= time.time()
    expected = signature_headers("cb_1", sent_at, request.body, [key_of(secret) for secret in SECRETS])
    assert request.headers["webhook-signature"] == expected["webhook-signature"]
    assert len(request.headers["webhook-signature"].split(" ")) == 2


def test_a_bad_secret_is_found_when_the_sender_is_made() -> None:
    with pytest.raises(ConfigurationError, match="CALLBACK_SECRET"):
        HttpCallbackSender(secrets=["not base64!"])


@pytest.mark.parametrize("status", [201, 202, 204, 400, 404, 410, 500, 503])
def test_only_200_is_a_delivery(receiver: HttpReceiver, status: int) -> None:
    receiver.answer_with([Answer(status, body=b"")])
    with pytest.raises(CallbackFailed, match=rf"^127\.0\.0\.1 answered {status}; only 200") as caught:
        HttpCallbackSender().send(callback_to(receiver.url))
    assert caught.value.retry_after_s is None


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_a_failed_try_and_nobody_goes_there(receiver: HttpReceiver, status: int) -> None:
    with HttpReceiver() as elsewhere:
        receiver.answer_with([redirect(elsewhere.url, status)])
        with pytest.raises(CallbackFailed, match="redirects are not followed"):
            HttpCallbackSender().send(callback_to(receiver.url))
        assert elsewhere.requests == []
    assert len(receiver.requests) == 1


@pytest.mark.parametrize(("value", "seconds"), [("7", 7.0), ("0", 0.0), (" 120 ", 120.0), ("9" * 5000, 999_999_999.0)])
def test_a_retry_after_in_seconds_is_handed_on(receiver: HttpReceiver, value: str, seconds: float) -> None:
    receiver.answer_with([Answer(503, {"Retry-After": value})])
    with pytest.raises(CallbackFailed) as caught:
        HttpCallbackSender().send(callback_to(receiver.url))
    assert caught.value.retry_after_s == seconds


@pytest.mark.parametrize(("ahead_s", "low", "high"), [(100, 90, 100), (-100, 0, 0)])
def test_a_retry_after_as_a_date_is_handed_on(receiver: HttpReceiver, ahead_s: int, low: float, high: float) -> None:
    moment = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=ahead_s)
    receiver.answer_with([Answer(429, {"Retry-After": format_datetime(moment, usegmt=True)})])
    with pytest.raises(CallbackFailed) as caught:
        HttpCallbackSender().send(callback_to(receiver.url))
    assert caught.value.retry_after_s is not None
    assert low <= caught.value.retry_after_s <= high


@pytest.mark.parametrize("value", ["", "soon", "-5", "1.5", "٣", "Mon, 99 Foo 2024 00:00:00 GMT"])
def test_a_retry_after_that_means_nothing_is_ignored(receiver: HttpReceiver, value: str) -> None:
    receiver.answer_with([Answer(503, {"Retry-After": value.encode().decode("latin-1")})])
    with pytest.raises(CallbackFailed) as caught:
        HttpCallbackSender().send(callback_to(receiver.url))
    assert caught.value.retry_after_s is None


def test_credentials_in_the_url_are_sent_as_basic_auth_and_never_shown(receiver: HttpReceiver) -> None:
    url = receiver.url.replace("http://", "http://user:p%40ss%E5%AF%86@")
    HttpCallbackSender().send(callback_to(url))
    [request] = receiver.requests
    assert request.headers["authorization"] == "Basic " + base64.b64encode("user:p@ss密".encode()).decode()
    receiver.answer_with([500, HANG_UP])
    for _ in range(2):
        with pytest.raises(CallbackFailed) as caught:
            HttpCallbackSender().send(callback_to(url))
        assert "ss" not in str(caught.value)
        assert "user" not in str(caught.value)


def test_a_netrc_file_is_not_given_away(
    receiver: HttpReceiver, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    netrc = tmp_path_factory.mktemp("home") / "netrc"
    netrc.write_text("machine 127.0.0.1 login somebody password secret\n")
    monkeypatch.setenv("NETRC", str(netrc))
    HttpCallbackSender(use_proxy=True).send(callback_to(receiver.url))
    assert "authorization" not in receiver.requests[0].headers


SLOW_ANSWERS = {
    "no byte for too long": Answer(delay_s=30),
    "a byte of the header now and then": Answer(drip_s=0.3),
    "endless interim answers": Answer(100, {"X": "y" * 50}, drip_s=0.2),
}


@pytest.mark.parametrize("answer", SLOW_ANSWERS.values(), ids=SLOW_ANSWERS)
def test_a_try_ends_at_its_deadline_however_the_receiver_dawdles(receiver: HttpReceiver, answer: Answer) -> None:
    receiver.answer_with([answer] * 3)

    def take_a_try() -> float:
        started = time.monotonic()
        with pytest.raises(CallbackFailed, match=r"^127\.0\.0\.1 did not answer within 2 s$"):
            HttpCallbackSender(timeout_s=2).send(callback_to(receiver.url))
        return time.monotonic() - started

    assert 1.9 < quickest(take_a_try, 3.0) < 3.0


@pytest.mark.parametrize("status", [200, 302])
def test_the_body_of_an_answer_is_not_waited_for(receiver: HttpReceiver, status: int) -> None:
    head = Answer(status, {"Content-Length": "1000000", "Location": "/elsewhere"}, body=b"x")
    receiver.answer_with([head])
    started = time.monotonic()
    sender = HttpCallbackSender(timeout_s=10)
    if status == 200:
        sender.send(callback_to(receiver.url))
    else:
        with pytest.raises(CallbackFailed):
            sender.send(callback_to(receiver.url))
    assert time.monotonic() - started < 5


def test_a_receiver_that_hangs_up_is_a_failed_try(receiver: HttpReceiver) -> None:
    receiver.answer_with([HANG_UP])
    with pytest.raises(CallbackFailed, match=r"^127\.0\.0\.1 could not be asked: .*closed connection"):
        HttpCallbackSender().send(callback_to(receiver.url + "?token=secret"))


def test_a_closed_port_is_a_failed_try_that_names_host_and_port() -> None:
    with HttpReceiver() as gone:
        url, port = gone.url, gone.port
    with pytest.raises(CallbackFailed, match=rf"^127\.0\.0\.1 can't be reached at port {port}: Connection refused$"):
        HttpCallbackSender().send(callback_to(url))


def test_an_unknown_host_is_a_failed_try() -> None:
    with pytest.raises(CallbackFailed, match=r"^no-such-host\.invalid can't be resolved: "):
        HttpCallbackSender(timeout_s=20).send(callback_to("http://no-such-host.invalid/"))


@pytest.mark.parametrize("url", [None, "", "ftp://127.0.0.1/", "http://", "http://[::1", "no url", "http://a:99999/"])
def test_what_is_no_url_is_given_up(url: str | None) -> None:
    with pytest.raises(PermanentCallbackError, match="callback_url"):
        HttpCallbackSender().send(callback_to(url))


def test_threads_do_not_disturb_each_other(receiver: HttpReceiver) -> None:
    sender = HttpCallbackSender(secrets=SECRETS)
    bodies = [b'{"n":%d}' % number for number in range(40)]
    errors: list[Exception] = []

    def send(part: list[bytes]) -> None:
        for body in part:
            try:
                sender.send(Callback(body.decode(), "t", "http", receiver.url, {}, body))
            except Exception as error:
                errors.append(error)

    threads = [threading.Thread(target=send, args=(bodies[start::4],)) for start in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert sorted(request.body for request in receiver.requests) == sorted(bodies)
    assert all(request.headers["webhook-id"] == request.body.decode() for request in receiver.requests)


def test_a_proxy_of_the_environment_is_used_only_on_demand(
    receiver: HttpReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    with HttpReceiver() as proxy:
        monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{proxy.port}")
        monkeypatch.delenv("no_proxy", raising=False)
        monkeypatch.delenv("NO_PROXY", raising=False)
        HttpCallbackSender().send(callback_to(receiver.url))
        assert (len(receiver.requests), len(proxy.requests)) == (1, 0)
        HttpCallbackSender(use_proxy=True).send(callback_to("http://only.the.proxy.knows.invalid/hook"))
        assert proxy.requests[0].path == "http://only.the.proxy.knows.invalid/hook"
        for refused in ("http://169.254.169.254/latest", "http://metadata.google.internal/", "http://0xa9fea9fe/"):
            with pytest.raises(PermanentCallbackError, match="credentials of the cloud machine"):
                HttpCallbackSender(use_proxy=True).send(callback_to(refused))
        assert len(proxy.requests) == 1


def test_a_proxy_that_dawdles_has_the_same_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    with HttpReceiver() as proxy:
        monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{proxy.port}")
        proxy.answer_with([Answer(drip_s=0.1)])
        with pytest.raises(CallbackFailed, match="did not answer within"):
            HttpCallbackSender(timeout_s=0.5, use_proxy=True).send(callback_to("http://8.8.8.8/hook"))


def test_https_goes_through_the_proxy_as_a_tunnel(monkeypatch: pytest.MonkeyPatch) -> None:
    with HttpReceiver() as proxy:  # which knows no tunnels, and says so
        monkeypatch.setenv("https_proxy", f"http://user:hunter2@127.0.0.1:{proxy.port}")
        with pytest.raises(
            CallbackFailed, match=r"^8\.8\.8\.8 could not be asked: Tunnel connection failed: 501"
        ) as caught:
            HttpCallbackSender(timeout_s=5, use_proxy=True).send(callback_to("https://8.8.8.8/hook?token=secret"))
        for hidden in ("hunter2", "token"):
            assert hidden not in str(caught.value)


def test_requests_is_imported_by_the_first_callback_only() -> None:
    program = """
import sys
from grid_async_task.adapters.http import HttpCallbackSender
HttpCallbackSender()
print("requests" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
