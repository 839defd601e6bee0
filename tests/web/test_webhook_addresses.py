"""Where webhooks may not lead: every way by which a server was ever talked into its own network."""

from __future__ import annotations

import ipaddress
import socket
from typing import Any

import pytest

from heed.errors import DataError
from heed.web.exchange.address import check_url, is_public, resolve

REFUSED_BY_ITS_LOOKS = [
    "ftp://example.org/",
    "file:///etc/passwd",
    "gopher://example.org/",
    "//example.org/",
    "example.org",
    "http:///x",
    "http://",
    "https://user@example.org/",
    "https://user:pass@example.org/",
    "https://example.org@127.0.0.1/",
    "https://example.org:22/",
    "https://example.org:8080/",
    "https://example.org:99999/",
    "https://example.org:x/",
    "https://example.org/#x",
    "https://exa mple.org/",
    "https://example.org\\@127.0.0.1/",
    "https://example.org/\r\nX: y",
    "https://example.org\x00.evil.example/",
    "https://ⓔxample.org/",
    "https://127。0。0。1/",
    "http://2130706433/",
    "http://0x7f000001/",
    "http://017700000001/",
    "http://0177.0.0.1/",
    "http://0x7f.1/",
    "http://127.1/",
    "http://127.0.1/",
    "http://1.2.3.4.5/",
    "http://256.256.256.256/",
    "http://example.0x7f/",
    "http://[::1%25eth0]/",
    "http://[fe80::1%eth0]/",
    "http://[::1/",
    "http://-example.org/",
    "http://" + "a" * 64 + ".org/",
    "https://example.org/" + "x" * 2000,
]

PRIVATE = [
    *("127.0.0.1", "127.8.9.1", "0.0.0.0", "0.1.2.3", "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1"),
    *("169.254.169.254", "100.64.0.1", "198.18.0.1", "192.0.0.1", "192.0.2.1", "198.51.100.1", "203.0.113.1"),
    *("224.0.0.1", "239.1.1.1", "240.0.0.1", "255.255.255.255"),
    *("192.0.0.9", "192.31.196.1", "192.52.193.1", "192.88.99.1", "192.175.48.6", "2620:4f:8000::1"),
    *("::1", "::", "fe80::1", "fc00::1", "fd12:3456::1", "fec0::1", "ff02::1", "2001:db8::1", "100::1"),
    *("::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:8.8.8.8", "::127.0.0.1", "64:ff9b::7f00:1", "64:ff9b:1::7f00:1"),
    *("2002:7f00:1::", "2002:808:808::", "2001:0:4136:e378:8000:63bf:3fff:fdd2", "3fff::1", "5f00::1"),
]


def answers_of(*addresses: str) -> Any:
    """A name server that gives one answer after the other, and the last one for ever."""
    left = list(addresses)

    def getaddrinfo(host: str, port: int, *_: Any, **__: Any) -> list[Any]:
        address = left.pop(0) if len(left) > 1 else left[0]
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        return [(family, socket.SOCK_STREAM, 6, "", (address, port))]

    return getaddrinfo


@pytest.mark.parametrize("url", REFUSED_BY_ITS_LOOKS)
def test_a_url_that_is_no_plain_one_is_refused_before_any_name_is_asked(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: pytest.fail("the name server was asked"))
    with pytest.raises(DataError):
        check_url(url)
    with pytest.raises(DataError):
        resolve(url)


@pytest.mark.parametrize("address", PRIVATE)
def test_no_address_inside_is_public_by_number_or_by_name(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not is_public(ipaddress.ip_address(address))
    literal = f"http://[{address}]/" if ":" in address else f"http://{address}/"
    with pytest.raises(DataError, match="public"):
        resolve(literal)
    monkeypatch.setattr(socket, "getaddrinfo", answers_of(address))
    with pytest.raises(DataError, match="public"):
        resolve("https://harmless.example/")


@pytest.mark.parametrize(
    "host",
    ["localhost", "LOCALHOST", "localhost.", "a.b.localhost", "localhost.localdomain", "ip6-localhost", "ip6-loopback"],
)
def test_a_name_of_the_server_itself_is_refused_before_it_is_resolved_unless_heed_yaml_names_it(host: str) -> None:
    for url in (f"http://{host}/", f"https://{host}:443/x"):
        with pytest.raises(DataError, match="public"):
            check_url(url)
    name = host.lower()
    assert check_url(f"http://{host}/", [name]).hostname == name
    assert check_url(f"http://{host}:8080/", [f"{name}:8080"]).port == 8080
    assert check_url("https://localhost.example/").hostname == "localhost.example"


@pytest.mark.parametrize("address", ["8.8.8.8", "93.184.216.34", "2606:2800:220:1:248:1893:25c8:1946", "2a00:1450::1"])
def test_public_addresses_are(address: str) -> None:
    assert is_public(ipaddress.ip_address(address))


def test_one_private_address_among_public_ones_spoils_all(monkeypatch: pytest.MonkeyPatch) -> None:
    both = [*answers_of("8.8.8.8")("x", 443), *answers_of("10.0.0.7")("x", 443)]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: both)
    with pytest.raises(DataError, match="public"):
        resolve("https://both.example/")


def test_the_address_that_was_checked_is_the_one_to_connect_to(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that answers publicly when it is checked and privately when it is used gains nothing."""
    monkeypatch.setattr(socket, "getaddrinfo", answers_of("8.8.8.8", "127.0.0.1"))
    target = resolve("https://rebinding.example/hook?x=1")
    assert (target.ip, target.host, target.port, target.path) == ("8.8.8.8", "rebinding.example", 443, "/hook?x=1")
    assert target.host_header == "rebinding.example"


def test_heed_yaml_can_name_hosts_of_this_network_by_name_and_port(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", answers_of("10.0.0.7"))
    assert resolve("http://hooks.internal/", ["hooks.internal"]).ip == "10.0.0.7"
    assert resolve("http://hooks.internal:9000/", ["hooks.internal:9000"]).host_header == "hooks.internal:9000"
    for url in ("http://hooks.internal:9001/", "http://other.internal/", "http://hooks.internal.evil.example/"):
        with pytest.raises(DataError):
            resolve(url, ["hooks.internal", "hooks.internal:9000"])


def test_an_unknown_host_is_told_without_details(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> Any:
        raise socket.gaierror("internal-name-server.corp did not answer")

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    with pytest.raises(DataError) as caught:
        resolve("https://nowhere.example/")
    assert "corp" not in str(caught.value)
