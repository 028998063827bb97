"""Which hosts and addresses a callback may go to. Callback URLs come from whoever can send a task.

Pure rules over names and `ipaddress` objects; `guarded_transport` sees to it that the address
that was judged is the one that is connected to.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator, Sequence
from enum import Enum
from ipaddress import IPv4Address, IPv6Address
from typing import TypeAlias

from grid_async_task.domain.errors import ConfigurationError

Address: TypeAlias = IPv4Address | IPv6Address


class Rule(Enum):
    """Why an address or a host is refused; the value ends the sentence "... is refused: "."""

    METADATA = "it serves the credentials of the cloud machine (always refused)"
    LINK_LOCAL = "link-local addresses are always refused"
    UNSPECIFIED = "it names no host (unspecified addresses are always refused)"
    MULTICAST = "multicast addresses are always refused"
    RESERVED = "reserved and broadcast addresses are always refused"
    PRIVATE = "private addresses are refused by CALLBACK_BLOCK_PRIVATE"
    NOT_ALLOWED = "CALLBACK_ALLOWED_HOSTS does not name it"


#: outside the link-local networks, so each has to be named
_METADATA = frozenset(
    map(
        ipaddress.ip_address,
        (
            "169.254.169.254",  # AWS, Azure, Google and most others
            "169.254.170.2",  # AWS, containers
            "169.254.170.23",  # AWS, EKS pod identity
            "fd00:ec2::254",  # AWS over IPv6
            "fd00:ec2::23",  # AWS, EKS pod identity over IPv6
            "fd20:ce::254",  # Google over IPv6
            "100.100.100.200",  # Alibaba
            "168.63.129.16",  # Azure, the machine's agent
            "192.0.0.192",  # Oracle, older machines
            "fd00:42::42",  # Scaleway over IPv6
        ),
    )
)
#: for proxies that resolve what we can't
_METADATA_NAMES = frozenset({"metadata.google.internal", "metadata.goog"})

_THIS_NETWORK = ipaddress.IPv4Network("0.0.0.0/8")  # Linux connects 0.0.0.0 to itself
_SITE_LOCAL = ipaddress.IPv6Network("fec0::/10")  # deprecated, so `is_global` does not know it
_COMPATIBLE = ipaddress.IPv6Network("::/96")
_TRANSLATED = ipaddress.IPv6Network("::ffff:0:0:0/96")
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_NAT64_LOCAL = ipaddress.IPv6Network("64:ff9b:1::/48")
_ISATAP_MARKS = (0x00005EFE, 0x02005EFE)
_ALL_32_BITS = 0xFFFFFFFF


def broken_rule(address: Address, *, block_private: bool) -> Rule | None:
    """The rule that forbids this address, whatever form it hides in; None where it is fine."""
    meant = list(_meant_by(address))
    always = [rule for each in meant if (rule := _always_broken(each)) is not None]
    if always:
        return always[0]
    if block_private and any(not each.is_global or each in _SITE_LOCAL for each in meant):
        return Rule.PRIVATE
    return None


def broken_host_rule(host: str, allowed_hosts: Sequence[re.Pattern[str]]) -> Rule | None:
    """The rule that forbids this host by its name; None where it is fine. An empty list allows all."""
    name = host.strip("[]").rstrip(".").lower()
    if name in _METADATA_NAMES:
        return Rule.METADATA
    if allowed_hosts and not any(pattern.fullmatch(name) for pattern in allowed_hosts):
        return Rule.NOT_ALLOWED
    return None


def host_pattern(text: str) -> re.Pattern[str]:
    """`api.example.com`, `*.example.com` (at any depth, but not `example.com` itself), `worker-*.internal`, `10.0.*.*`.

    A `*` at the start followed by a dot stands for one or more labels, any other for characters
    within one label, `*` alone for every host. Raises `ConfigurationError`.
    """
    name = text.strip().strip("[]").rstrip(".").lower()
    if not name or re.search(r"[\s/@?#,]", name):
        raise ConfigurationError(
            f"CALLBACK_ALLOWED_HOSTS: {text!r} is no host pattern; allowed are host names such as "
            "api.example.com and patterns such as *.example.com, without scheme, port or path"
        )
    if name == "*":
        return re.compile(r".*")
    start, rest = (r"(?:[^.]+\.)+", name[2:]) if name.startswith("*.") else ("", name)
    return re.compile(start + re.escape(rest).replace(r"\*", r"[^.]*"))


def _always_broken(address: Address) -> Rule | None:
    if address in _METADATA:
        return Rule.METADATA
    if address.is_link_local:
        return Rule.LINK_LOCAL
    if address.is_unspecified or address in _THIS_NETWORK:
        return Rule.UNSPECIFIED
    if address.is_multicast:
        return Rule.MULTICAST
    # of IPv6, ipaddress counts as reserved what is merely unassigned, loopback and NAT64 among it
    if isinstance(address, IPv4Address) and address.is_reserved:
        return Rule.RESERVED
    return None


def _meant_by(address: Address) -> Iterator[Address]:
    """The addresses that a packet to this one may end up at."""
    if isinstance(address, IPv4Address):
        yield address
        return
    number = int(address)
    if address.scope_id is not None:
        address = IPv6Address(number)
    if address.ipv4_mapped is not None:
        yield address.ipv4_mapped
    elif address in _NAT64 or address in _TRANSLATED:
        yield IPv4Address(number & _ALL_32_BITS)
    else:
        yield address
        yield from _tunnelled_in(address, number)


def _tunnelled_in(address: IPv6Address, number: int) -> Iterator[Address]:
    if address in _COMPATIBLE and number > 0xFFFF:  # below: `::`, `::1`
        yield IPv4Address(number & _ALL_32_BITS)
    if address in _NAT64_LOCAL:  # RFC 6052: behind a /96 prefix, or split around bits 64 to 71 behind a /48
        split = (number >> 64 & 0xFFFF) << 16 | number >> 40 & 0xFFFF
        yield IPv4Address(number & _ALL_32_BITS or split)
    if address.sixtofour is not None:
        yield address.sixtofour
    if address.teredo is not None:
        yield from address.teredo
    if number >> 32 & _ALL_32_BITS in _ISATAP_MARKS:
        yield IPv4Address(number & _ALL_32_BITS)
