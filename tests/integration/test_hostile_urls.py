"""What senders of tasks may try with a `callback_url`, and the exact rule for each (docs/callback-urls.md)."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from grid_async_task.adapters.http import HttpCallbackSender
from grid_async_task.adapters.http.address_guard import Rule
from grid_async_task.adapters.http.deadline import Deadline
from grid_async_task.adapters.http.guarded_transport import Route, post
from grid_async_task.domain.callback import Callback
from grid_async_task.domain.errors import PermanentCallbackError
from grid_async_task.domain.message import InvalidMessage, MessageLimits
from grid_async_task.domain.message_parsing import parse_message
from grid_async_task.ports import CallbackFailed
from tests.servers.http_receiver import HttpReceiver, redirect

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "callback-urls.md"

#: what the sender says of a text that it can't call at all
NO_URL = "callback_url is not a URL that can be called"
NO_HTTP = "callback_url is not an http:// or https:// URL that can be called"


@dataclass(frozen=True)
class Try:
    url: str
    #: as the page has it
    trick: str
    rule: Rule | str

    @property
    def says(self) -> str:
        """How the error ends."""
        return self.rule if isinstance(self.rule, str) else f"are refused: {self.rule.value}"


#: refused whatever the settings are
ALWAYS = [
    Try("http://169.254.169.254/latest/meta-data/", "the metadata service", Rule.METADATA),
    Try("https://169.254.169.254/", "the same over TLS", Rule.METADATA),
    Try("http://[fd00:ec2::254]/", "the same over IPv6", Rule.METADATA),
    Try("http://100.100.100.200/", "another cloud's", Rule.METADATA),
    Try("http://metadata.google.internal/", "by its name", Rule.METADATA),
    Try("http://Metadata.Google.Internal./", "by its name, with a final dot", Rule.METADATA),
    Try("http://2852039166/", "as one decimal number", Rule.METADATA),
    Try("http://0xa9fea9fe/", "as one hexadecimal number", Rule.METADATA),
    Try("http://025177524776/", "as one octal number", Rule.METADATA),
    Try("http://0251.0376.0251.0376/", "octal parts", Rule.METADATA),
    Try("http://0xa9.254.0251.254/", "mixed parts", Rule.METADATA),
    Try("http://169.254.43518/", "fewer parts", Rule.METADATA),
    Try("http://169.254.169.254./", "a final dot", Rule.METADATA),
    Try("http://0xa9fea9fe./", "a number with a final dot", Rule.METADATA),
    Try("http://%31%36%39.254.169.254/", "percent-encoded digits", Rule.METADATA),
    Try("http://[::ffff:169.254.169.254]/", "IPv4-mapped", Rule.METADATA),
    Try("http://[::ffff:a9fe:a9fe]/", "IPv4-mapped, in hexadecimal", Rule.METADATA),
    Try("http://[::169.254.169.254]/", "IPv4-compatible", Rule.METADATA),
    Try("http://[::ffff:0:a9fe:a9fe]/", "IPv4-translated", Rule.METADATA),
    Try("http://[64:ff9b::a9fe:a9fe]/", "NAT64", Rule.METADATA),
    Try("http://[64:ff9b:1::a9fe:a9fe]/", "NAT64 with a local prefix", Rule.METADATA),
    Try("http://[2002:a9fe:a9fe::1]/", "6to4", Rule.METADATA),
    Try("http://[2001:0:4136:e378:8000:63bf:5601:5601]/", "Teredo", Rule.METADATA),
    Try("http://good.example@169.254.169.254/", "a good host as user name", Rule.METADATA),
    Try("http://user:word@169.254.169.254/", "with credentials", Rule.METADATA),
    Try("http://169.254.169.254#@good.example/", "a good host behind `#`", Rule.METADATA),
    Try("http://169.254.169.254\\@good.example/", "a good host behind a backslash", Rule.METADATA),
    Try("http://169.254.1.2/", "link-local", Rule.LINK_LOCAL),
    Try("http://[fe80::1]/", "link-local over IPv6", Rule.LINK_LOCAL),
    Try("http://[fe80::1%25eth0]/", "link-local with a zone", Rule.LINK_LOCAL),
    Try("http://[fd00:ec2::254%25eth0]/", "metadata with a zone", Rule.METADATA),
    Try("http://0.0.0.0:8080/", "no address at all", Rule.UNSPECIFIED),
    Try("http://0/", "the same, short", Rule.UNSPECIFIED),
    Try("http://[::]/", "the same over IPv6", Rule.UNSPECIFIED),
    Try("http://224.0.0.1/", "multicast", Rule.MULTICAST),
    Try("http://[ff02::1]/", "multicast over IPv6", Rule.MULTICAST),
    Try("http://255.255.255.255/", "broadcast", Rule.RESERVED),
    Try("http://①⑥⑨.②⑤④.①⑥⑨.②⑤④/", "digits that only look like digits", NO_URL),
    Try("http://169。254。169。254/", "dots that only look like dots", NO_URL),
    Try("http://ⓜetadata.google.internal/", "a letter that only looks like one", NO_URL),
    Try("http://127.0.0.1%0d%0aHost:evil/", "CR and LF in the host", NO_URL),
    Try("http://169.254.169.254%00.good.example/", "NUL in the host", NO_URL),
    Try("http://127.0.0.1:99999/", "no such port", NO_URL),
    Try("//169.254.169.254/", "no scheme", NO_URL),
    Try("file:///etc/passwd", "a file", NO_HTTP),
    Try("gopher://good.example:70/_GET", "another protocol", NO_HTTP),
    Try("unix:///var/run/docker.sock", "a socket", NO_HTTP),
]
#: refused with CALLBACK_BLOCK_PRIVATE=true
PRIVATE = [
    Try("http://127.0.0.1/", "the worker's own machine", Rule.PRIVATE),
    Try("http://localhost/", "the same by name", Rule.PRIVATE),
    Try("http://127.1/", "the same, short", Rule.PRIVATE),
    Try("http://127.0.0.1:0/", "the same with port 0, which means the usual one", Rule.PRIVATE),
    Try("http://[::1]/", "the same over IPv6", Rule.PRIVATE),
    Try("http://[::1%25lo]/", "the same with a zone", Rule.PRIVATE),
    Try("http://[::ffff:127.0.0.1]/", "the same, IPv4-mapped", Rule.PRIVATE),
    Try("http://10.0.0.1/", "a private network", Rule.PRIVATE),
    Try("http://192.168.1.1./", "another, with a final dot", Rule.PRIVATE),
    Try("http://100.64.0.1/", "shared address space", Rule.PRIVATE),
    Try("http://[fd12:3456::1]/", "a unique local address", Rule.PRIVATE),
    Try("http://[64:ff9b::10.0.0.1]/", "a private address behind NAT64", Rule.PRIVATE),
]
#: refused with CALLBACK_ALLOWED_HOSTS=good.example
OTHERS = [
    Try("http://127.0.0.1/", "an address instead of the name", Rule.NOT_ALLOWED),
    Try("http://good.example@evil.example/", "the good host as user name", Rule.NOT_ALLOWED),
    Try("http://good.example.evil.example/", "the good host as a beginning", Rule.NOT_ALLOWED),
    Try("http://evil.example#@good.example/", "the good host behind `#`", Rule.NOT_ALLOWED),
    Try("http://evilgood.example/", "the good host as an end", Rule.NOT_ALLOWED),
]
SETTINGS: dict[str, Callable[..., HttpCallbackSender]] = {
    "always": lambda **more: HttpCallbackSender(5, **more),
    "CALLBACK_BLOCK_PRIVATE": lambda **more: HttpCallbackSender(5, block_private=True, **more),
    "CALLBACK_ALLOWED_HOSTS": lambda **more: HttpCallbackSender(5, allowed_hosts=["good.example"], **more),
}
TABLE = [(when, each) for when, tries in zip(SETTINGS, (ALWAYS, PRIVATE, OTHERS), strict=True) for each in tries]


def callback_to(url: str) -> Callback:
    return Callback(id="cb_1", task_id="Job-1", type="http", url=url, data={}, body=b"{}")


@pytest.mark.parametrize("through_a_proxy", [False, True], ids=["direct", "proxy"])
@pytest.mark.parametrize(("when", "hostile"), TABLE, ids=[f"{when}: {each.trick}" for when, each in TABLE])
def test_a_hostile_url_is_given_up_by_its_rule(
    when: str, hostile: Try, through_a_proxy: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    with HttpReceiver() as proxy:
        for name in ("http_proxy", "https_proxy"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
        for name in ("no_proxy", "NO_PROXY"):
            monkeypatch.delenv(name, raising=False)
        with pytest.raises(PermanentCallbackError) as caught:
            SETTINGS[when](use_proxy=through_a_proxy).send(callback_to(hostile.url))
        assert str(caught.value).endswith(hostile.says)
        assert "word" not in str(caught.value)
        assert proxy.requests == []


def test_the_page_says_the_same() -> None:
    text = PAGE.read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\S+)` \| (.+?) \| (.+?) \| (.+?) \|$", text, re.MULTILINE)
    expected = [(each.url, each.trick, when if when == "always" else f"`{when}`", each.says) for when, each in TABLE]
    assert rows == expected


# -- what takes more than a URL -------------------------------------------------------------------------


def test_control_characters_reach_the_receiver_as_text_and_make_no_header() -> None:
    with HttpReceiver() as receiver:
        HttpCallbackSender(5).send(callback_to(f"{receiver.url}\r\nX-Evil: 1\r\n\r\nGET /?q=\n"))
        (request,) = receiver.requests
        assert request.path == "/callback%0D%0AX-Evil:%201%0D%0A%0D%0AGET%20/?q=%0A"
        assert "x-evil" not in request.headers


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_nobody_goes_where_a_redirect_leads(status: int) -> None:
    with HttpReceiver() as receiver, HttpReceiver() as inside:
        receiver.answer_with([redirect(inside.url, status)])
        with pytest.raises(CallbackFailed, match="redirects are not followed"):
            HttpCallbackSender(5).send(callback_to(receiver.url))
        assert inside.requests == []


def test_a_name_that_turns_hostile_between_check_and_connect_gains_nothing() -> None:
    """DNS rebinding: it is asked once, and what was judged is what is connected to."""
    answers = iter([["127.0.0.1"], ["169.254.169.254"]])
    with HttpReceiver() as receiver, Deadline(5) as deadline:
        route = Route(deadline, resolve=lambda host: next(answers))
        assert post(f"http://rebind.example:{receiver.port}/", b"{}", {}, route, use_proxy=False).status == 200
        with pytest.raises(PermanentCallbackError, match=re.escape(Rule.METADATA.value)):
            post(f"http://rebind.example:{receiver.port}/", b"{}", {}, route, use_proxy=False)
        assert len(receiver.requests) == 1


@pytest.mark.parametrize("url", ["ftp://a.example/", "file:///etc/passwd", "javascript:alert(1)", "x" * 501])
def test_what_can_be_no_callback_url_makes_the_message_a_dead_letter(url: str) -> None:
    with pytest.raises(InvalidMessage, match="callback_url"):
        parse_message(f'{{"task_id":"t","callback_url":"{url}"}}'.encode(), MessageLimits(10_000, frozenset({"http"})))
