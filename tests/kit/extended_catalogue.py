"""A source that is known to the catalogue alone. Import this before any module that derives values from the catalogue.

As a program, it is `airy` with that source: `python -m tests.kit.extended_catalogue sources list`.
"""

import sys
from typing import Annotated

from msgspec import Meta, field

from airy.secret import Secret
from airy.sources import catalogue
from airy.sources.spec import REQUIRED, ChannelForm, Kind, SendLimits, SourceSection, SourceSpec


class CarrierSection(SourceSection, frozen=True, kw_only=True):
    api_key: Annotated[Secret | None, REQUIRED, Meta(description="from the carrier's console")] = None
    spare_keys: tuple[Secret, ...] = ()
    keys_by_region: dict[str, Secret] = field(default_factory=dict)


class ConnectLine(ChannelForm, frozen=True, kw_only=True):
    line: str


SPEC = SourceSpec(
    name="carrier",
    title="Carrier lines",
    kinds=(
        Kind(
            name="carrier.line",
            title="Line",
            account="number",
            connect=ConnectLine,
            limits=SendLimits(per_s=1.0, parallel_max=1),
        ),
    ),
    section=CarrierSection,
    webhooks=("/carrier/{line}",),
    build="tests.kit.extended_catalogue:none",
    services=("sources-carrier-connector",),
)


def install() -> None:
    catalogue.SOURCES = (*catalogue.SOURCES, SPEC)
    catalogue.BY_NAME = {**catalogue.BY_NAME, SPEC.name: SPEC}
    catalogue.BY_KIND = {**catalogue.BY_KIND, **{kind.name: SPEC for kind in SPEC.kinds}}
    catalogue.KINDS = {**catalogue.KINDS, **{kind.name: kind for kind in SPEC.kinds}}


if __name__ == "__main__":
    install()
    from airy.cli import main

    sys.exit(main(sys.argv[1:]))
