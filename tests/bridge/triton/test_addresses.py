"""Addresses as the setting gives them, and as DNS changes them."""

import socket
from collections.abc import Sequence

import pytest

from bridge.triton.addresses import MAX_SERVERS, Address, Addresses, Target, lookup, parse_targets


class Dns:
    def __init__(self, *hosts: str) -> None:
        self.hosts: Sequence[str] = hosts
        self.away = False

    def __call__(self, _host: str, _port: int) -> Sequence[str]:
        if self.away:
            raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
        return self.hosts


def test_addresses_are_read() -> None:
    assert parse_targets("a:8001, b:8002,dns:///triton.ns.svc:8001,[::1]:8001") == [
        Target("a", 8001, dns=False),
        Target("b", 8002, dns=False),
        Target("triton.ns.svc", 8001, dns=True),
        Target("[::1]", 8001, dns=False),
    ]


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("", "'' is not HOST:PORT"),
        ("a", "'a' is not"),
        ("a:8001,", "'' is not"),
        ("a:8001,b", "'b' is not"),
        ("a:0", "'a:0' is not"),
        ("a:65536", "'a:65536' is not"),
        ("http://a:8000", "'http://a:8000' is an address with a scheme"),
        ("dns://8.8.8.8/a:8001", "'dns://8.8.8.8/a:8001' is an address with a scheme"),
        ("dns:///a", "'a' is not"),
        ("a:8001,a:8001", "named twice"),
        (",".join(f"a{i}:8001" for i in range(MAX_SERVERS + 1)), "65 addresses"),
    ],
)
def test_an_address_that_is_none_is_told(text: str, wrong: str) -> None:
    with pytest.raises(ValueError, match="(?i)" + wrong.replace("(", r"\(")):
        parse_targets(text)


def test_a_name_stands_for_all_its_servers_as_they_come_and_go() -> None:
    dns = Dns("10.0.0.1", "10.0.0.2")
    addresses = Addresses("dns:///triton:8001", dns)
    assert addresses.changing
    assert addresses.now() == [
        Address("10.0.0.1:8001", "triton"),
        Address("10.0.0.2:8001", "triton"),
    ]
    dns.hosts = ["10.0.0.2", "fd00::7"]
    assert [one.text for one in addresses.now()] == ["10.0.0.2:8001", "[fd00::7]:8001"]


def test_dns_that_is_away_moves_no_server() -> None:
    dns = Dns("10.0.0.1")
    addresses = Addresses("dns:///triton:8001", dns)
    before = addresses.now()
    dns.away = True
    assert addresses.now() == before
    assert "DNS does not tell where triton is" in str(addresses.problem)
    dns.away = False
    addresses.now()
    assert addresses.problem is None


def test_a_server_that_is_named_twice_is_one() -> None:
    addresses = Addresses("10.0.0.1:8001,dns:///triton:8001", Dns("10.0.0.1", "10.0.0.2"))
    assert [one.text for one in addresses.now()] == ["10.0.0.1:8001", "10.0.0.2:8001"]


def test_more_servers_than_can_be_watched_are_left_out() -> None:
    addresses = Addresses("dns:///triton:8001", Dns(*(f"10.0.0.{i}" for i in range(200))))
    assert len(addresses.now()) == MAX_SERVERS


def test_the_systems_resolver_is_asked() -> None:
    assert "127.0.0.1" in lookup("localhost", 8001)
    assert not Addresses("localhost:8001").changing
