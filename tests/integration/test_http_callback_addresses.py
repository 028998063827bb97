"""That the address that was checked is the one that is connected to. Hostile URLs: see test_hostile_urls."""

from __future__ import annotations

import datetime
import socket
import ssl
import threading
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from grid_async_task.adapters.http import HttpCallbackSender
from grid_async_task.adapters.http.address_guard import Rule
from grid_async_task.adapters.http.deadline import Deadline
from grid_async_task.adapters.http.guarded_transport import Route, post
from grid_async_task.domain.callback import Callback
from grid_async_task.domain.errors import PermanentCallbackError
from grid_async_task.ports import CallbackFailed
from tests.servers.http_receiver import HttpReceiver


def callback_to(url: str) -> Callback:
    return Callback(id="cb_1", task_id="Job-1", type="http", url=url, data={}, body=b"{}")


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "127.1", "0x7f000001", "[::ffff:127.0.0.1]"])
def test_private_addresses_are_fine_unless_blocked(host: str) -> None:
    with HttpReceiver() as receiver:
        url = receiver.url.replace("127.0.0.1", host)
        HttpCallbackSender().send(callback_to(url))
        assert len(receiver.requests) == 1
        with pytest.raises(PermanentCallbackError) as caught:
            HttpCallbackSender(block_private=True).send(callback_to(url))
        assert str(caught.value).endswith(f"refused: {Rule.PRIVATE.value}")
        assert len(receiver.requests) == 1


@pytest.mark.parametrize(
    "url",
    [
        "http://allowed.invalid\\@127.0.0.1:{port}/",
        "http://allowed.invalid#@127.0.0.1:{port}/",
        "http://allowed.invalid@127.0.0.1:{port}/",
        "http://allowed.invalid:80@127.0.0.1:{port}/",
        "http://127.0.0.1:{port}\\.allowed.invalid/",
    ],
)
def test_a_host_in_disguise_does_not_pass_for_an_allowed_one(url: str) -> None:
    with HttpReceiver() as receiver:
        sender = HttpCallbackSender(allowed_hosts=["allowed.invalid", "*.allowed.invalid"])
        with pytest.raises((PermanentCallbackError, CallbackFailed)):
            sender.send(callback_to(url.format(port=receiver.port)))
        assert receiver.requests == []


def test_only_allowed_hosts_are_called() -> None:
    with HttpReceiver() as receiver:
        sender = HttpCallbackSender(allowed_hosts=["*.example.com", "localhost"])
        sender.send(callback_to(receiver.url.replace("127.0.0.1", "LOCALHOST")))
        assert len(receiver.requests) == 1
        with pytest.raises(PermanentCallbackError) as caught:
            sender.send(callback_to(receiver.url))
        assert str(caught.value) == f"callbacks to 127.0.0.1 are refused: {Rule.NOT_ALLOWED.value}"
        assert len(receiver.requests) == 1


def test_a_name_is_resolved_once_and_the_checked_address_is_connected_to() -> None:
    asked: list[str] = []

    def rebinding(host: str) -> list[str]:
        asked.append(host)
        return ["127.0.0.1"] if len(asked) == 1 else ["169.254.169.254"]

    with HttpReceiver() as receiver, Deadline(5) as deadline:
        url = f"http://rebind.invalid:{receiver.port}/"
        assert post(url, b"{}", {}, Route(deadline, resolve=rebinding), use_proxy=False).status == 200
        assert asked == ["rebind.invalid"]
        assert receiver.requests[0].headers["host"] == f"rebind.invalid:{receiver.port}"


def test_one_refused_address_among_good_ones_refuses_the_host() -> None:
    with HttpReceiver() as receiver, Deadline(5) as deadline:
        route = Route(deadline, resolve=lambda host: ["127.0.0.1", "169.254.169.254"])
        with pytest.raises(PermanentCallbackError, match=r"mixed\.invalid \(169\.254\.169\.254\)"):
            post(f"http://mixed.invalid:{receiver.port}/", b"{}", {}, route, use_proxy=False)
        assert receiver.requests == []


def test_the_next_address_is_tried_when_one_does_not_answer() -> None:
    with HttpReceiver() as receiver, Deadline(5) as deadline:
        route = Route(deadline, resolve=lambda host: ["127.0.0.2", "127.0.0.1"])
        assert post(f"http://two.invalid:{receiver.port}/", b"{}", {}, route, use_proxy=False).status == 200
        assert len(receiver.requests) == 1


def test_a_resolver_that_hangs_ends_at_the_deadline() -> None:
    over = threading.Event()

    def hanging(host: str) -> list[str]:
        over.wait(30)
        return []

    try:
        with Deadline(0.3) as deadline:
            route = Route(deadline, resolve=hanging)
            with pytest.raises(CallbackFailed, match=r"was not resolved within 0\.3 s"):
                post("http://slow.invalid/", b"{}", {}, route, use_proxy=False)
    finally:
        over.set()


class TestTls:
    """Certificate and SNI go by the name, though the connection goes to an address."""

    @pytest.mark.parametrize("variable", ["REQUESTS_CA_BUNDLE", "SSL_CERT_FILE"])
    def test_a_private_ca_is_trusted_through_the_environment(
        self, variable: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delenv("REQUESTS_CA_BUNDLE", raising=False)
        monkeypatch.delenv("SSL_CERT_FILE", raising=False)
        asked_for: list[str | None] = []
        context = server_context(tmp_path, "localhost")
        context.sni_callback = lambda connection, name, _: asked_for.append(name)
        with HttpReceiver(tls=context) as receiver:
            url = receiver.url.replace("127.0.0.1", "localhost")
            with pytest.raises(CallbackFailed, match=r"^localhost could not be asked: .*certificate verify failed"):
                HttpCallbackSender().send(callback_to(url))
            monkeypatch.setenv(variable, str(tmp_path / "localhost.pem"))
            HttpCallbackSender().send(callback_to(url))
            assert len(receiver.requests) == 1
            assert asked_for == ["localhost", "localhost"]

    def test_a_certificate_for_another_name_is_refused(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        with HttpReceiver(tls=server_context(tmp_path, "other.example")) as receiver:
            monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "other.example.pem"))
            with pytest.raises(CallbackFailed, match="Hostname mismatch"):
                HttpCallbackSender().send(callback_to(receiver.url.replace("127.0.0.1", "localhost")))
            assert receiver.requests == []

    def test_a_handshake_that_never_comes_ends_at_the_deadline(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as silent:
            url = f"https://127.0.0.1:{silent.getsockname()[1]}/"
            with pytest.raises(CallbackFailed, match=r"did not answer within 0\.3 s"):
                HttpCallbackSender(timeout_s=0.3).send(callback_to(url))


def server_context(directory: Path, name: str) -> ssl.SSLContext:
    """A server's TLS with a certificate of its own for this name, left in `<name>.pem` for clients to trust."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.timezone.utc)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    trusted = directory / f"{name}.pem"
    trusted.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    both = directory / f"{name}-server.pem"
    both.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + trusted.read_bytes()
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(both)
    return context
