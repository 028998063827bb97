from __future__ import annotations

from ipaddress import ip_address

import pytest

from grid_async_task.adapters.http.address_guard import Rule, broken_host_rule, broken_rule, host_pattern
from grid_async_task.domain.errors import ConfigurationError

ALWAYS_REFUSED = {
    "169.254.169.254": Rule.METADATA,
    "169.254.170.2": Rule.METADATA,
    "100.100.100.200": Rule.METADATA,
    "168.63.129.16": Rule.METADATA,
    "192.0.0.192": Rule.METADATA,
    "fd00:ec2::254": Rule.METADATA,
    "fd20:ce::254": Rule.METADATA,
    "169.254.0.1": Rule.LINK_LOCAL,
    "fe80::1": Rule.LINK_LOCAL,
    "fe80::1%eth0": Rule.LINK_LOCAL,
    "febf::1": Rule.LINK_LOCAL,
    "0.0.0.0": Rule.UNSPECIFIED,
    "0.1.2.3": Rule.UNSPECIFIED,
    "::": Rule.UNSPECIFIED,
    "224.0.0.1": Rule.MULTICAST,
    "239.255.255.250": Rule.MULTICAST,
    "ff02::1": Rule.MULTICAST,
    "240.0.0.1": Rule.RESERVED,
    "255.255.255.255": Rule.RESERVED,
    # the same behind other forms
    "::ffff:169.254.169.254": Rule.METADATA,
    "::ffff:0.0.0.0": Rule.UNSPECIFIED,
    "::ffff:224.0.0.1": Rule.MULTICAST,
    "::169.254.169.254": Rule.METADATA,
    "::ffff:0:169.254.169.254": Rule.METADATA,
    "64:ff9b::169.254.169.254": Rule.METADATA,
    "64:ff9b::169.254.1.1": Rule.LINK_LOCAL,
    "64:ff9b:1::169.254.169.254": Rule.METADATA,
    "64:ff9b:1:a9fe:a9:fe00::": Rule.METADATA,
    "2002:a9fe:a9fe::1": Rule.METADATA,
    "2001:0:4136:e378:8000:63bf:5601:5601": Rule.METADATA,
    "2001:db8::5efe:169.254.169.254": Rule.METADATA,
    "2001:db8::200:5efe:169.254.1.1": Rule.LINK_LOCAL,
}

PRIVATE = [
    "127.0.0.1",
    "10.1.2.3",
    "172.16.0.1",
    "192.168.1.1",
    "100.64.0.1",
    "::1",
    "fc00::1",
    "fd12:3456::1",
    "fec0::1",
    "::ffff:10.0.0.1",
    "64:ff9b::10.0.0.1",
    "2002:a00:1::1",
]

PUBLIC = [
    "8.8.8.8",
    "1.1.1.1",
    "2606:4700::1111",
    "::ffff:8.8.8.8",
    "64:ff9b::8.8.8.8",  # what DNS64 gives for an IPv4 receiver
]


@pytest.mark.parametrize(("address", "rule"), ALWAYS_REFUSED.items())
@pytest.mark.parametrize("block_private", [False, True])
def test_what_is_always_refused(address: str, rule: Rule, block_private: bool) -> None:
    assert broken_rule(ip_address(address), block_private=block_private) is rule


@pytest.mark.parametrize("address", PRIVATE)
def test_private_addresses_are_refused_on_demand_only(address: str) -> None:
    assert broken_rule(ip_address(address), block_private=False) is None
    assert broken_rule(ip_address(address), block_private=True) is Rule.PRIVATE


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses_are_always_fine(address: str) -> None:
    assert broken_rule(ip_address(address), block_private=True) is None


@pytest.mark.parametrize(
    ("pattern", "host", "allowed"),
    [
        ("api.example.com", "api.example.com", True),
        ("api.example.com", "API.Example.com.", True),
        ("api.example.com", "xapi.example.com", False),
        ("api.example.com", "api.example.com.evil.org", False),
        ("api.example.com", "apiXexample.com", False),
        ("*.example.com", "a.example.com", True),
        ("*.example.com", "a.b.example.com", True),
        ("*.example.com", "example.com", False),
        ("*.example.com", "evilexample.com", False),
        ("*.example.com", ".example.com", False),
        ("*.Example.com", "a.example.COM", True),
        ("worker-*.internal", "worker-7.internal", True),
        ("worker-*.internal", "worker-7.evil.internal", False),
        ("10.0.*.*", "10.0.3.4", True),
        ("10.0.*.*", "10.0.3.4.evil.org", False),
        ("[::1]", "::1", True),
        ("*", "anything.at.all", True),
    ],
)
def test_patterns_of_hosts(pattern: str, host: str, allowed: bool) -> None:
    rule = broken_host_rule(host, [host_pattern(pattern)])
    assert rule is (None if allowed else Rule.NOT_ALLOWED)


def test_without_patterns_every_host_is_allowed() -> None:
    assert broken_host_rule("anything.at.all", []) is None


def test_one_of_several_patterns_is_enough() -> None:
    patterns = [host_pattern("a.example.com"), host_pattern("b.example.com")]
    assert broken_host_rule("b.example.com", patterns) is None


def test_metadata_is_refused_by_name_too_even_where_all_hosts_are_allowed() -> None:
    assert broken_host_rule("Metadata.Google.Internal.", [host_pattern("*")]) is Rule.METADATA


@pytest.mark.parametrize("text", ["", "https://api.example.com", "api.example.com/path", "user@host", "a b", "a,b"])
def test_what_is_no_pattern_is_a_configuration_error(text: str) -> None:
    with pytest.raises(ConfigurationError, match="CALLBACK_ALLOWED_HOSTS"):
        host_pattern(text)
