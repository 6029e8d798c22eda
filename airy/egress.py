"""Decides which addresses outbound requests may go to, so that a caller's URL cannot reach our own network (SSRF).

Pure. `check_url` turns a URL into the target of a request, at its registration and before a call alike, and explains
what is wrong; `is_allowed` is the actual guard, called for the address a socket is about to connect to, after name
resolution. Only public unicast is allowed: `ipaddress.is_global` alone would allow translated, tunnelled and multicast
addresses.
"""

import re
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from urllib.parse import urlsplit

from msgspec import Struct

from airy.errors import Refused

URL_CHARS_MAX = 2048
DEFAULT_PORTS = {"https": 443, "http": 80}

NOT_PUBLIC_4 = tuple(
    IPv4Network(text)
    for text in (
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",
        "127.0.0.0/8",
        "169.254.0.0/16",
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.88.99.0/24",
        "192.168.0.0/16",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/4",
        "240.0.0.0/4",
    )
)
PUBLIC_6 = IPv6Network("2000::/3")
NOT_PUBLIC_6 = tuple(  # within it: protocol assignments with Teredo, documentation, 6to4
    IPv6Network(text) for text in ("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20")
)
PRIVATE_4 = tuple(IPv4Network(text) for text in ("10.0.0.0/8", "127.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"))
PRIVATE_6 = tuple(IPv6Network(text) for text in ("::1/128", "fc00::/7"))

HOST_CHARS_MAX = 253
LABEL = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)", re.IGNORECASE)
BRACKETED = re.compile(r"\[[0-9a-f:.]+\](:[0-9]*)?", re.IGNORECASE)
NUMBER = re.compile(r"\d+|0x[0-9a-f]*", re.IGNORECASE)
LOCAL_NAMES = (".localhost", ".local", ".internal", ".home.arpa")


class EgressPolicy(Struct, frozen=True):
    """Allowed ports and networks. `private` (loopback and private networks) and `http` are for development."""

    ports: tuple[int, ...] = (443,)  # empty: any
    http: bool = False
    private: bool = False

    def port_allowed(self, port: int) -> bool:
        return not self.ports or port in self.ports


class RequestTarget(Struct, frozen=True):
    """A checked URL as it is called. The host is never decoded: not every `xn--` label has a Unicode form."""

    scheme: str  # `http` or `https`
    host: str  # a name in lower-case ASCII, or an address without brackets
    port: int
    path: str  # with the query, without the fragment

    @property
    def origin(self) -> str:
        return f"{self.scheme}://{self._netloc(self.host)}"

    @property
    def host_header(self) -> str:
        return self._netloc(self.host.removesuffix("."))

    def _netloc(self, host: str) -> str:
        name = f"[{host}]" if ":" in host else host
        return name if self.port == DEFAULT_PORTS[self.scheme] else f"{name}:{self.port}"


PUBLIC_ONLY = EgressPolicy()
UNRESTRICTED = EgressPolicy(ports=(), http=True, private=True)  # for addresses from the configuration


def is_allowed(address: str, *, private: bool = False) -> bool:
    """Whether a socket may connect to this address. False for text that is not an IP address."""
    try:
        ip = ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if isinstance(ip, IPv6Address) and ip.ipv4_mapped is not None:
        ip = ip.ipv4_mapped
    return _public(ip) or (private and _private(ip))


def _public(ip: IPv4Address | IPv6Address) -> bool:
    if isinstance(ip, IPv4Address):
        return not any(ip in network for network in NOT_PUBLIC_4)
    return ip in PUBLIC_6 and not any(ip in network for network in NOT_PUBLIC_6)


def _private(ip: IPv4Address | IPv6Address) -> bool:
    if isinstance(ip, IPv4Address):
        return any(ip in network for network in PRIVATE_4)
    return any(ip in network for network in PRIVATE_6)


def check_url(url: str, policy: EgressPolicy = PUBLIC_ONLY) -> RequestTarget:
    """Raises `Refused` with field `url` and the necessary change. Stricter than the URL parsers of clients."""
    if len(url) > URL_CHARS_MAX or not url.isascii() or not url.isprintable() or " " in url or "\\" in url:
        raise _refused(
            f"use at most {URL_CHARS_MAX} ASCII characters without spaces or backslashes;"
            " write the host in its xn-- form"
        )
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise _refused("not a URL") from None
    bracketed = "[" in parts.netloc or "]" in parts.netloc
    if port == 0:
        raise _refused("not a URL: there is no port 0")
    if parts.scheme not in (("http", "https") if policy.http else ("https",)):
        raise _refused("use http or https" if policy.http else "use https")
    if "@" in parts.netloc:
        raise _refused("no user name or password in the URL: use a header")
    if bracketed and not BRACKETED.fullmatch(parts.netloc):
        raise _refused("not a host: brackets hold an IPv6 address without a zone, and only a port follows")
    port = DEFAULT_PORTS[parts.scheme] if port is None else port
    if not policy.port_allowed(port):
        raise _refused(f"port not allowed: use {' or '.join(map(str, policy.ports))}")
    problem = _host_problem(host, policy, bracketed=bracketed)
    if problem:
        raise _refused(problem)
    return RequestTarget(parts.scheme, host, port, f"{parts.path or '/'}{'?' if parts.query else ''}{parts.query}")


def _refused(problem: str) -> Refused:
    return Refused(problem, field="url")


def _host_problem(host: str, policy: EgressPolicy, *, bracketed: bool) -> str | None:
    name = host.removesuffix(".")
    if bracketed or NUMBER.fullmatch(name.rpartition(".")[2]):  # an address by the WHATWG rule
        return None if is_allowed(host, private=policy.private) else "not a public address"
    if len(name) > HOST_CHARS_MAX:
        return f"the host name is longer than {HOST_CHARS_MAX} characters"
    for label in name.split("."):
        if not LABEL.fullmatch(label):
            return (
                f"not a host name: {label[:64]!r} must be 1 to 63 letters, digits, hyphens or underscores,"
                " without a hyphen at either end"
            )
    if not policy.private and ("." not in name or f".{name}".endswith(LOCAL_NAMES)):
        return "not a public host name"
    return None
