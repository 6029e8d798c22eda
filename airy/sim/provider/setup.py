"""How an installation finds a simulated provider: its configuration, and the calls that connect the accounts."""

import json
from collections.abc import Mapping, Sequence

from msgspec import Struct

HEADERS = "-H 'Content-Type: application/json' -H \"Authorization: Bearer $TOKEN\""


class Connect(Struct, frozen=True):
    """A call of `channels.<kind>.connect`."""

    kind: str
    body: dict[str, str]


class Setup(Struct, frozen=True):
    """`sections`: of `components.sources` in airy.yaml, by source."""

    sections: Mapping[str, Mapping[str, str]]
    connects: Sequence[Connect]
    needs_public_url: bool = False
    public_url: str | None = None  # that the provider was told; None: any


def yaml(*setups: Setup, public_url: str) -> str:
    """The part of airy.yaml."""
    told = ["http:", f"  publicUrl: {public_url}"] if any(setup.needs_public_url for setup in setups) else []
    told += ["components:", "  sources:"]
    for setup in setups:
        for source, keys in setup.sections.items():
            told += [f"    {source}:", "      enabled: true"]
            told += [f"      {name}: {json.dumps(text)}" for name, text in keys.items()]
    return "\n".join(told)


def lines(title: str, address: str, setup: Setup, target_url: str | None) -> list[str]:
    airy = setup.public_url or target_url or "http://127.0.0.1:8080"
    told = [
        f"simulated {title} on {address}",
        "",
        "airy.yaml:",
        "",
        *yaml(setup, public_url=airy).split("\n"),
        "",
        "connect:",
        "",
    ]
    for connect in setup.connects:
        body = json.dumps(connect.body)
        told.append(f"curl {airy}/channels.{connect.kind}.connect {HEADERS} -d '{body}'")
    say = json.dumps({"text": "Is the rye bread back?"})
    told += [
        "",
        "control API, for example a person who writes:",
        "",
        f"curl {address}/sim/say -d '{say}'",
    ]
    return [*told, ""]
