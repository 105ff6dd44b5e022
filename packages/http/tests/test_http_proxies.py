"""Client address and scheme behind proxies."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starkeel_http._client_address.forwarded import client_hop, parse_forwarded, parse_node, parse_x_forwarded
from starkeel_testing import Service

IPS = st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6).filter(lambda ip: ip.ipv4_mapped is None))


@pytest.mark.parametrize(
    ("headers", "client", "scheme"),
    [
        ({}, "127.0.0.1", "http"),
        ({"X-Forwarded-For": "192.0.2.7"}, "192.0.2.7", "http"),
        ({"X-Forwarded-For": "1.1.1.1, 192.0.2.7"}, "192.0.2.7", "http"),
        ({"X-Forwarded-For": "1.1.1.1, 192.0.2.7, 10.1.2.3"}, "192.0.2.7", "http"),
        ({"X-Forwarded-For": "10.9.9.9, 10.1.2.3"}, "10.9.9.9", "http"),
        ({"X-Forwarded-For": "1.1.1.1, garbage, 10.1.2.3"}, "10.1.2.3", "http"),
        ({"X-Forwarded-For": "garbage"}, "127.0.0.1", "http"),
        ({"X-Forwarded-For": "192.0.2.7:4711"}, "192.0.2.7", "http"),
        ({"X-Forwarded-For": "2001:DB8::7"}, "2001:db8::7", "http"),
        ({"X-Forwarded-For": "::ffff:192.0.2.7"}, "192.0.2.7", "http"),
        ({"X-Forwarded-For": "192.0.2.7", "X-Forwarded-Proto": "https"}, "192.0.2.7", "https"),
        ({"X-Forwarded-For": "192.0.2.7", "X-Forwarded-Proto": "gopher"}, "192.0.2.7", "http"),
        (
            {"X-Forwarded-For": "192.0.2.7, 10.1.1.1", "X-Forwarded-Proto": "https, http"},
            "192.0.2.7",
            "https",
        ),
        ({"Forwarded": 'for="[2001:db8::7]:4711";proto=https'}, "2001:db8::7", "https"),
        ({"Forwarded": "for=1.1.1.1, For=192.0.2.7;Proto=HTTPS;by=10.0.0.1"}, "192.0.2.7", "https"),
        ({"Forwarded": "for=unknown;proto=https"}, "127.0.0.1", "http"),
        ({"Forwarded": "for=_hidden, for=10.1.2.3"}, "10.1.2.3", "http"),
        ({"Forwarded": "for=192.0.2.7;for=1.1.1.1"}, "127.0.0.1", "http"),
        ({"Forwarded": 'for="192.0.2.7'}, "127.0.0.1", "http"),
        # It is unknown which of the two the proxy wrote.
        ({"Forwarded": "for=1.1.1.1", "X-Forwarded-For": "192.0.2.7"}, "127.0.0.1", "http"),
        ({"Forwarded": "for=192.0.2.7", "X-Forwarded-For": "192.0.2.7"}, "192.0.2.7", "http"),
        ({"X-Forwarded-For": "1.1.1.1," * 2000}, "127.0.0.1", "http"),
    ],
)
def test_the_right_most_untrusted_hop_is_the_client(
    sample: Service, headers: dict[str, str], client: str, scheme: str
) -> None:
    assert sample.client.get("/client", headers=headers).json() == {"client": client, "scheme": scheme}


def test_headers_of_untrusted_peers_are_ignored(run_sample: Any) -> None:
    with run_sample(TRUSTED_PROXIES="10.0.0.0/8") as service:
        for name, value in (("X-Forwarded-For", "10.0.0.1"), ("Forwarded", "for=10.0.0.1;proto=https")):
            response = service.client.get("/client", headers={name: value, "X-Forwarded-Proto": "https"})
            assert response.json() == {"client": "127.0.0.1", "scheme": "http"}


@given(st.text(max_size=60) | st.text('for=,;"\\[]:1. \tproto', max_size=60))
def test_parsing_never_raises(text: str) -> None:
    hops = parse_forwarded(text) or []
    found = client_hop([*hops, *(parse_x_forwarded(text, text) or [])], lambda _: True)
    assert found is None or found.address is not None


@given(st.lists(IPS, min_size=1, max_size=8), st.integers(1, 65535), st.booleans())
def test_parsing_inverts_formatting(addresses: list[Any], port: int, with_port: bool) -> None:
    def node(ip: Any) -> str:
        host = f"[{ip}]" if ip.version == 6 else str(ip)
        return f'"{host}:{port}"' if with_port else f'"{host}"'

    expected = [str(ip) for ip in addresses]
    hops = parse_forwarded(", ".join(f"for={node(ip)};proto=https" for ip in addresses))
    assert hops is not None
    assert [(hop.address, hop.scheme) for hop in hops] == [(ip, "https") for ip in expected]
    x_forwarded = parse_x_forwarded(",".join(expected), "http")
    assert x_forwarded is not None
    assert [(hop.address, hop.scheme) for hop in x_forwarded] == [(ip, "http") for ip in expected]


@given(st.text(max_size=40))
def test_parsed_nodes_are_normalized(text: str) -> None:
    address = parse_node(text)
    assert address is None or parse_node(address) == address
