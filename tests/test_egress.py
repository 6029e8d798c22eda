"""Which addresses and URLs may be called."""

import pytest

from airy.egress import PUBLIC_ONLY, EgressPolicy, check_url, is_allowed
from airy.errors import Refused
from tests.kit.raw_http import REFUSED_ADDRESSES, REFUSED_URLS, UNRESTRICTED, UNSHOWABLE_URLS

PUBLIC_ADDRESSES = [
    "1.1.1.1",
    "8.8.8.8",
    "93.184.216.34",
    "172.15.255.255",
    "172.32.0.1",
    "100.63.255.255",
    "100.128.0.1",
    "192.0.1.1",
    "192.167.1.1",
    "198.17.255.255",
    "198.20.0.1",
    "223.255.255.255",
    "2606:4700::1111",
    "2a00:1450:4001::200e",
    "2001:4860:4860::8888",
    "::ffff:8.8.8.8",
    "::ffff:808:808",
]


@pytest.mark.parametrize("address", PUBLIC_ADDRESSES)
def test_public_addresses_may_be_called(address: str) -> None:
    assert is_allowed(address)


@pytest.mark.parametrize("address", REFUSED_ADDRESSES)
def test_no_other_address_may_be_called(address: str) -> None:
    assert not is_allowed(address)


def test_private_addresses_need_the_switch_and_link_local_ones_stay_closed() -> None:
    private = ["10.0.0.1", "127.0.0.1", "172.16.0.1", "192.168.0.1", "::1", "fd00::1", "::ffff:127.0.0.1"]
    assert all(is_allowed(address, private=True) for address in private)
    never = ["0.0.0.0", "169.254.169.254", "fe80::1", "224.0.0.1", "255.255.255.255", "64:ff9b::7f00:1", "::"]
    assert not any(is_allowed(address, private=True) for address in never)


@pytest.mark.parametrize("url", REFUSED_URLS)
def test_a_forbidden_url_is_refused_at_registration(url: str) -> None:
    with pytest.raises(Refused) as refused:
        check_url(url)
    assert refused.value.field == "url"


@pytest.mark.parametrize(
    "url",
    [
        "https://hooks.example.com",
        "https://hooks.example.com/a?b=c#d",
        "https://hooks.example.com:443/",
        "https://1.1.1.1/",
        "https://[2606:4700::1111]/",
        "https://xn--exmple-cua.com/",
        "HTTPS://EXAMPLE.COM./",
        "https://a_b.example.com/",
        *UNSHOWABLE_URLS,
    ],
)
def test_an_ordinary_url_is_accepted(url: str) -> None:
    check_url(url)


@pytest.mark.parametrize(
    ("url", "origin", "host_header", "path"),
    [
        ("HTTPS://EXAMPLE.COM.", "https://example.com.", "example.com", "/"),
        ("https://example.com:0443?a=%zz#b", "https://example.com", "example.com", "/?a=%zz"),
        ("http://[2606:4700::1111]:8080/{a}", "http://[2606:4700::1111]:8080", "[2606:4700::1111]:8080", "/{a}"),
        ("https://hook_1.xn--strae-oqa.de/x", "https://hook_1.xn--strae-oqa.de", "hook_1.xn--strae-oqa.de", "/x"),
    ],
)
def test_a_url_is_called_in_its_encoded_form(url: str, origin: str, host_header: str, path: str) -> None:
    target = check_url(url, UNRESTRICTED)
    assert (target.origin, target.host_header, target.path) == (origin, host_header, path)


@pytest.mark.parametrize(("policy", "schemes"), [(PUBLIC_ONLY, "use https$"), (UNRESTRICTED, "use http or https$")])
@pytest.mark.parametrize("url", ["hook", "/hook", "//example.com/hook", "ftp://example.com/hook"])
def test_a_url_without_an_allowed_scheme_is_told_the_allowed_ones(url: str, policy: EgressPolicy, schemes: str) -> None:
    with pytest.raises(Refused, match=schemes):
        check_url(url, policy)


def test_a_developer_may_open_http_ports_and_private_addresses() -> None:
    for url in ("http://localhost:8080/", "http://127.0.0.1:9000/", "https://[::1]:1/", "http://redis/"):
        check_url(url, UNRESTRICTED)
    check_url("https://example.com:8443/", EgressPolicy(ports=(443, 8443)))
    with pytest.raises(Refused):
        check_url("http://169.254.169.254/", UNRESTRICTED)
