"""The address of a client, and the limit of requests without a caller from each. No clock of its own.

A proxy in front adds the address it was connected from to `X-Forwarded-For`. Anyone can send that header, so it counts
only in a connection of a trusted proxy, and is read from its end: the last address that is no trusted proxy's.
"""

from collections.abc import Collection, Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from airy.commands import TooManyRequests
from airy.errors import Refused
from airy.http.asgi import RawHeaders, Scope
from airy.http.problems import problem_of
from airy.rate_limit import RateLimiter

HOPS_MAX = 16  # of `X-Forwarded-For` that are read
FORWARDED_FOR = b"x-forwarded-for"
IPV6_PREFIX = 64  # one customer's network: its addresses share a limit

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network


class ClientLimiter:
    """Limits requests without a caller: of open routes, and with credentials that are not valid."""

    def __init__(self, limiter: RateLimiter | None = None, trusted_proxies: Collection[str] = ()) -> None:
        """Raises `Refused` for text that is no network."""
        self.limiter = limiter or RateLimiter()
        self._trusted = networks(trusted_proxies)

    def check(self, scope: Scope) -> None:
        """Raises `Problem` 429."""
        peer = (scope.get("client") or ("", 0))[0]
        wait_s = self.limiter.take(client_key(peer, scope["headers"], self._trusted))
        if wait_s:
            raise problem_of(TooManyRequests("too many requests from this address", retry_after_s=wait_s))


def networks(texts: Iterable[str]) -> tuple[Network, ...]:
    """Raises `Refused`."""
    found = []
    for text in texts:
        try:
            found.append(ip_network(text))
        except ValueError as error:
            raise Refused(f"http.trustedProxies: {text!r} is no network such as 10.0.0.0/8: {error}") from error
    return tuple(found)


def client_key(peer: str, headers: RawHeaders, trusted: Collection[Network]) -> str:
    """What the requests of one client have in common. `peer`: the address of the connection; empty if it has none."""
    address = _parsed(peer)
    if address is None:
        return peer
    for hop in _hops(headers) if trusted else ():
        if not any(address in network for network in trusted):
            break
        before = _parsed(hop)
        if before is None:
            break
        address = before
    return str(address) if address.version == 4 else str(ip_network((address, IPV6_PREFIX), strict=False))


def _hops(headers: RawHeaders) -> list[str]:
    """The addresses of `X-Forwarded-For`, nearest first."""
    text = b",".join(value for name, value in headers if name == FORWARDED_FOR).decode("latin-1")
    return [hop.strip() for hop in text.rsplit(",", HOPS_MAX)[::-1][:HOPS_MAX]]


def _parsed(text: str) -> Address | None:
    """Also of `1.2.3.4:80` and `[::1]:80`, as some proxies write them."""
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ip_address(text)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address
