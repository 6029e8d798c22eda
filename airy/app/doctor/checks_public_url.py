"""Checks of the address at which providers call this installation. Pure."""

from urllib.parse import urlsplit

from msgspec import Struct

from airy.app.doctor.check import Findings, ok, problem, warning
from airy.app.doctor.facts import PublicUrlFacts, SettingFacts
from airy.components import source_component
from airy.config import enabled_components
from airy.egress import EgressPolicy, check_url
from airy.errors import Refused
from airy.sources.catalogue import SOURCES


def callable_by_providers(facts: SettingFacts) -> Findings:
    """Providers post webhooks to https addresses of the internet only."""
    config = facts.config
    enabled = enabled_components(config)
    specs = [spec for spec in SOURCES if spec.webhooks and source_component(spec).id in enabled]
    url = config.http.public_url
    if not specs:
        return ok("no enabled source is called by a provider")
    names = ", ".join(spec.name for spec in specs)
    if all(_simulated(config.section(spec.section)) for spec in specs):
        return ok(f"the providers of {names} are simulated")
    if not url:
        return ok(f"not set, and not needed by {names}")
    parts = urlsplit(url)
    if not _is_public(url):
        return warning(
            f"http.publicUrl is {url}, which only machines of this network reach: no provider posts webhooks there",
            "set http.publicUrl: https://HOST, the address of your proxy",
        )
    if parts.scheme != "https":
        return problem(
            f"http.publicUrl is {url}: providers post webhooks to https only, and sign that address",
            f"set http.publicUrl: https://{parts.netloc}, with TLS in front",
        )
    return ok(url)


def _simulated(section: Struct) -> bool:
    """Whether a source calls its provider at an address of this machine or network."""
    names = [name for name in section.__struct_fields__ if name.endswith("_url")]
    return any(not _is_public(getattr(section, name)) for name in names)


def _is_public(url: str) -> bool:
    parts = urlsplit(url)
    try:
        check_url(f"https://{parts.netloc}", EgressPolicy(ports=()))
    except Refused:
        return False
    return True


def leads_here(facts: PublicUrlFacts) -> Findings:
    step = "point http.publicUrl, DNS and the proxy to this installation, without a change of the path"
    if facts.found is not None:
        if facts.found == facts.expected:
            return ok(f"{facts.url} leads here")
        return problem(f"{facts.url} leads to another installation of Airy", step)
    if facts.error.startswith("time-out"):
        return warning(
            f"{facts.url} does not answer from this machine: {facts.error}",
            f"try it from outside: curl {facts.url}/livez",
        )
    if facts.error:
        return problem(f"{facts.url} does not lead to an instance: {facts.error}", step)
    return problem(f"{facts.url}/livez answered {facts.status}, and not as Airy does: another program is there", step)
