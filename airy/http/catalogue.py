"""The catalogue of API resources: adding one is a module and a line here."""

from collections.abc import Collection, Iterable

from airy.http import (
    api_tokens,
    channels,
    client_config,
    communication_socket,
    contacts,
    conversations,
    dead_letters,
    events,
    media,
    messages,
    metadata,
    processes,
    tags,
    templates,
    users,
    webhooks,
)
from airy.http.resource import Resource

RESOURCES: tuple[Resource, ...] = (
    api_tokens.RESOURCE,
    *channels.RESOURCES,
    client_config.RESOURCE,
    communication_socket.RESOURCE,
    contacts.RESOURCE,
    conversations.RESOURCE,
    dead_letters.RESOURCE,
    events.RESOURCE,
    media.RESOURCE,
    messages.RESOURCE,
    metadata.RESOURCE,
    processes.RESOURCE,
    tags.RESOURCE,
    templates.RESOURCE,
    users.RESOURCE,
    webhooks.RESOURCE,
)

ACTIONS = tuple(action for resource in RESOURCES for action in resource.actions)


def served(resources: Iterable[Resource], running: Collection[str]) -> list[Resource]:
    """The resources of the running components."""
    return [resource for resource in resources if resource.component in running]
