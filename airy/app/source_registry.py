"""The sources of the catalogue, each built when it is first asked for: what runs nowhere is not even imported."""

from collections.abc import Callable, Iterator, Mapping

from airy.sources.api import Source, WebhookSource
from airy.sources.catalogue import BY_NAME, spec_of
from airy.sources.spec import SourceSection, SourceSpec


class SourceRegistry(Mapping[str, Source]):
    """By name, all of the catalogue."""

    def __init__(self, section: Callable[[SourceSpec], SourceSection], public_url: str) -> None:
        self._section = section
        self._public_url = public_url
        self._built: dict[str, Source] = {}

    def __getitem__(self, name: str) -> Source:
        if name not in self._built:
            spec = BY_NAME[name]
            self._built[name] = spec.load()(self._section(spec), self._public_url)
        return self._built[name]

    def with_webhooks(self, name: str) -> WebhookSource:
        """A source whose specification has webhooks."""
        source: WebhookSource = self[name]  # type: ignore[assignment]  # as declared
        return source

    def __iter__(self) -> Iterator[str]:
        return iter(BY_NAME)

    def __len__(self) -> int:
        return len(BY_NAME)

    def of_kind(self, kind: str) -> Source | None:
        """The source of channels with this `Channel.source`; None if it is not enabled."""
        spec = spec_of(kind)
        return self[spec.name] if self._section(spec).enabled else None
