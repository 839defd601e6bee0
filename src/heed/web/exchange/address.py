"""Where a webhook may send to: public addresses, and hosts of this network that heed.yaml names.

The host is resolved once and the connection goes to the address that was checked, so that a name which answers differently
the second time gains nothing. A host that is a number in disguise (decimal, octal, hexadecimal) is refused by its looks,
an address that hides another one inside (IPv4 in IPv6) by what it hides.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import SplitResult, urlsplit

from heed.errors import DataError

DEFAULT_PORTS = {"http": 80, "https": 443}

_LONGEST_URL = 2000
_PUBLIC = "Give a public one like https://example.org/heed;"
_ALLOW = "for a host of your own network let whoever runs the server add '{}' to serve.webhook_hosts in heed.yaml."
_NAME = re.compile(
    r"(?=.{1,253}\Z)[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?)*\.?\Z"
)
_THIS_MACHINE = re.compile(r"(.+\.)?(localhost|localdomain|localhost[46]|ip6-localhost|ip6-loopback)\.?\Z")
"""Names that mean the server itself, wherever they are resolved."""
_NUMBER_LABEL = re.compile(r"(0x[0-9a-f]*|[0-9]+)\Z")
_PUBLIC_IPV6 = ipaddress.IPv6Network("2000::/3")
# Besides what the standard library knows: all of IANA's special-purpose registries, reachable from everywhere or not.
_SPECIAL_IPV4 = tuple(
    ipaddress.IPv4Network(net)
    for net in ("192.0.0.0/24", "192.31.196.0/24", "192.52.193.0/24", "192.88.99.0/24", "192.175.48.0/24")
)
_SPECIAL_IPV6 = tuple(
    ipaddress.IPv6Network(net) for net in ("2001::/23", "2001:db8::/32", "2002::/16", "2620:4f:8000::/48", "3fff::/20")
)

IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address


@dataclass(frozen=True)
class Target:
    """Where to connect, and what to say there.

    Attributes:
        scheme: "http" or "https".
        host: as the URL names it, for the Host header and the certificate.
        port: to connect to.
        path: with the query.
        ip: the address that was checked.
    """

    scheme: str
    host: str
    port: int
    path: str
    ip: str

    @property
    def host_header(self) -> str:
        """Host, with the port where it is not the scheme's own."""
        name = f"[{self.host}]" if ":" in self.host else self.host
        return name if self.port == DEFAULT_PORTS[self.scheme] else f"{name}:{self.port}"


def check_url(url: str, internal_hosts: Sequence[str] = ()) -> SplitResult:
    """See that ``url`` can be one of a webhook, without asking any name server.

    Args:
        url: as somebody typed it.
        internal_hosts: hosts of this network that may be reached too, as ``name`` or ``name:port``.

    Raises:
        DataError: it cannot, with the reason.
    """
    if len(url) > _LONGEST_URL or not url.isascii() or not url.isprintable() or " " in url or "\\" in url:
        raise _refused(f"it is not printable ASCII without spaces of at most {_LONGEST_URL:,} characters")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise _refused("it is no URL") from None
    if parts.scheme not in DEFAULT_PORTS:
        raise _refused("it begins with neither https:// nor http://")
    if "@" in parts.netloc:
        raise _refused("it holds a user name or a password")
    if parts.fragment:
        raise _refused("it holds a fragment, which no server receives")
    host = parts.hostname or ""
    if _literal(host) is None and (_is_numeric(host) or not _NAME.match(host)):
        raise _refused("its host is neither a name nor an address in its usual form")
    reached = f"{host}:{port or DEFAULT_PORTS[parts.scheme]}"
    if reached in internal_hosts:
        return parts
    if port is not None and port not in DEFAULT_PORTS.values():
        raise _refused(f"port {port} is neither 80 nor 443", f"{_PUBLIC} {_ALLOW.format(reached)}")
    address = _literal(host)
    inside = _THIS_MACHINE.match(host) if address is None else not is_public(address)
    if inside and host not in internal_hosts:
        raise _refused("its host is not on the public network", f"{_PUBLIC} {_ALLOW.format(reached)}")
    return parts


def resolve(url: str, internal_hosts: Sequence[str] = ()) -> Target:
    """Where ``url`` leads, by one question to the name server.

    Raises:
        DataError: it cannot be the URL of a webhook, its host is not known, or it leads into a network that is not public.
    """
    parts = check_url(url, internal_hosts)
    host = parts.hostname or ""
    port = parts.port or DEFAULT_PORTS[parts.scheme]
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise _refused("its host is not known to the name server") from None
    addresses = [ipaddress.ip_address(str(entry[4][0]).partition("%")[0]) for entry in found]
    if not addresses:
        raise _refused("its host has no address")
    if host not in internal_hosts and f"{host}:{port}" not in internal_hosts:
        for address in addresses:
            if not is_public(address):
                why = "its host is not on the public network; serve.webhook_hosts in heed.yaml can allow it"
                raise _refused(why, f"{_PUBLIC} {_ALLOW.format(f'{host}:{port}')}")
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Target(parts.scheme, host, port, path, str(addresses[0]))


def is_public(address: IpAddress) -> bool:
    """Whether an address is one machine on the public network, and says so openly."""
    if not address.is_global or address.is_multicast or address.is_reserved or address.is_unspecified:
        return False
    if isinstance(address, ipaddress.IPv4Address):
        return not any(address in network for network in _SPECIAL_IPV4)
    return address in _PUBLIC_IPV6 and not any(address in network for network in _SPECIAL_IPV6)


def _literal(host: str) -> IpAddress | None:
    try:
        return None if "%" in host else ipaddress.ip_address(host)
    except ValueError:
        return None


def _is_numeric(host: str) -> bool:
    """Whether a resolver may read the host as a number: its last part is one."""
    return bool(_NUMBER_LABEL.match(host.removesuffix(".").rpartition(".")[2]))


def _refused(why: str, fix: str = "Give a public one like https://example.org/heed.") -> DataError:
    return DataError("the URL of the webhook", f"{why}.", fix)
