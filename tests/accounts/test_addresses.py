"""What may be reached: the public internet, and what an operator adds; in one spelling only."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accounts import addresses

FORBIDDEN = [
    "127.0.0.1",
    "127.255.255.254",
    "0.0.0.0",
    "10.0.0.1",
    "172.16.0.1",
    "172.31.255.255",
    "192.168.1.1",
    "169.254.169.254",
    "168.63.129.16",
    "100.100.100.200",
    "192.0.0.192",
    "224.0.0.1",
    "255.255.255.255",
    "198.18.0.1",
    "203.0.113.9",
    "::",
    "::1",
    "::127.0.0.1",
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "::ffff:169.254.169.254",
    "64:ff9b::7f00:1",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b:1::1",
    "2002:7f00:1::",
    "2001::1",
    "fe80::1",
    "fec0::1",
    "fc00::1",
    "fd00:ec2::254",
    "ff02::1",
    "2001:db8::1",
]


@pytest.mark.parametrize("address", FORBIDDEN)
def test_it_refuses_what_the_internet_does_not_route(address: str) -> None:
    assert addresses.refusal(ipaddress.ip_address(address))


@pytest.mark.parametrize(
    "address", ["8.8.8.8", "1.1.1.1", "2606:4700:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"]
)
def test_it_lets_public_addresses_pass(address: str) -> None:
    assert addresses.refusal(ipaddress.ip_address(address)) == ""


@given(st.ip_addresses())
def test_whatever_passes_is_global_and_so_is_the_address_inside_of_it(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address,
) -> None:
    if not addresses.refusal(address):
        mapped = getattr(address, "ipv4_mapped", None)
        assert (mapped or address).is_global
        assert not address.is_multicast


@pytest.mark.parametrize(
    "spelling",
    [
        "2130706433",
        "0177.0.0.1",
        "0x7f.0.0.1",
        "0x7f000001",
        "127.1",
        "127.0.1",
        "1.2.3.4.5",
        "127.0.0.1%eth0",
        "fe80::1%1",
        "",
        "a..b",
        "-a.example",
        "a b",
        "a/b",
        "exa\tmple.com",
        "x" * 64 + ".example",
        "256.1.1.1",
        "foo.0x",
    ],
)
def test_an_address_has_one_spelling_and_a_name_is_made_of_labels(spelling: str) -> None:
    assert addresses.normalized(spelling) is None


@pytest.mark.parametrize(
    ("spelling", "host"),
    [
        ("Hooks.Example.COM.", "hooks.example.com"),
        ("bücher.example", "xn--bcher-kva.example"),
        ("①②⑦.⓪.⓪.①", "127.0.0.1"),  # IDNA folds the digits: then it is judged as the address that it is
        ("0:0:0:0:0:0:0:1", "::1"),
        ("under_score.example", "under_score.example"),
    ],
)
def test_a_host_is_brought_into_its_one_form(spelling: str, host: str) -> None:
    assert addresses.normalized(spelling) == host


def test_an_operator_allows_names_suffixes_addresses_and_networks() -> None:
    allowed = addresses.parse_allowed(
        "vllm.internal, *.corp.example, 10.20.0.0/16, 192.168.1.5, [fd12::]/16, localhost"
    )

    assert allowed.has_host("vllm.internal")
    assert allowed.has_host("a.b.corp.example")
    assert not allowed.has_host("corp.example")
    assert not allowed.has_host("evilcorp.example")
    assert not allowed.has_host("x.vllm.internal")
    assert allowed.has_host("10.20.3.4")
    assert allowed.has_host("192.168.1.5")
    assert not allowed.has_host("192.168.1.6")
    assert allowed.has_address(ipaddress.ip_address("::ffff:10.20.3.4"))
    assert allowed.has_address(ipaddress.ip_address("fd12::9"))


def test_an_allowed_name_may_be_private_but_never_the_metadata_service() -> None:
    allowed = addresses.parse_allowed("vllm.internal")

    assert addresses.refusal(ipaddress.ip_address("10.1.1.1"), allowed, host="vllm.internal") == ""
    assert addresses.refusal(ipaddress.ip_address("10.1.1.1"), allowed, host="other.internal") == "private"
    for address in ("169.254.169.254", "fd00:ec2::254", "224.0.0.1"):
        assert addresses.refusal(ipaddress.ip_address(address), allowed, host="vllm.internal")


@pytest.mark.parametrize("entry", ["http://vllm", "vllm:8000", "10.0.0.0/33", "10.1.2.3/8", "*.", "0x7f.1", "a b"])
def test_an_allow_list_that_cannot_be_read_names_the_entry(entry: str) -> None:
    with pytest.raises(addresses.InvalidAllowList) as caught:
        addresses.parse_allowed(f"fine.example, {entry}")

    assert entry in str(caught.value)
