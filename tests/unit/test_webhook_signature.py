from __future__ import annotations

import base64

import pytest

from grid_async_task.adapters.http.signature import key_of, signature_headers
from grid_async_task.domain.errors import ConfigurationError

SECRET = "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
CALLBACK_ID = "msg_p5jXN8AQM9LWM0D4loKWxJek"
TIMESTAMP_S = 1614265330
BODY = b'{"test": 2432232314}'
SIGNATURE = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


@pytest.mark.parametrize("secret", [SECRET, f"whsec_{SECRET}", f" whsec_{SECRET}\n"])
def test_the_published_example_comes_out(secret: str) -> None:
    headers = signature_headers(CALLBACK_ID, TIMESTAMP_S, BODY, [key_of(secret)])
    assert headers == {"webhook-timestamp": "1614265330", "webhook-signature": SIGNATURE}


def test_each_of_several_keys_signs() -> None:
    other = base64.b64encode(b"the new key, for the time of the change").decode()
    first, second = signature_headers(CALLBACK_ID, TIMESTAMP_S, BODY, [key_of(other), key_of(SECRET)])[
        "webhook-signature"
    ].split(" ")
    assert second == SIGNATURE
    assert first.startswith("v1,")
    assert first != second


@pytest.mark.parametrize(
    "changed",
    [("other", TIMESTAMP_S, BODY), (CALLBACK_ID, TIMESTAMP_S + 1, BODY), (CALLBACK_ID, TIMESTAMP_S, BODY + b" ")],
    ids=["id", "time", "body"],
)
def test_everything_that_is_signed_counts(changed: tuple[str, int, bytes]) -> None:
    assert signature_headers(*changed, [key_of(SECRET)])["webhook-signature"] != SIGNATURE


@pytest.mark.parametrize("secret", ["", "whsec_", "whsec_not base64!", "häßlich", "whsec_abc"])
def test_a_secret_that_is_none_is_a_configuration_error_that_does_not_show_it(secret: str) -> None:
    with pytest.raises(ConfigurationError, match="CALLBACK_SECRET") as caught:
        key_of(secret)
    if len(secret) > len("whsec_"):
        assert secret.removeprefix("whsec_") not in str(caught.value)
