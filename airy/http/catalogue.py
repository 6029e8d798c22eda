"""The catalogue of API resources: adding one is a module and a line here."""

from collections.abc import Collection, Iterable

from airy.http import (
    api_tokens,
    channels,
    chatplugin,
    client_config,
    communication_socket,
    components,
    contacts,
    conversations,
    custom_sources,
    dead_letters,
    events,
    logs,
    media,
    message_traces,
    messages,
    metadata,
    processes,
    tags,
    templates,
    topics,
    users,
    webhooks,
)
from airy.http.resource import Resource

RESOURCES: tuple[Resource, ...] = (
    api_tokens.RESOURCE,
    *channels.RESOURCES,
    chatplugin.RESOURCE,
    client_config.RESOURCE,
    communication_socket.RESOURCE,
    components.RESOURCE,
    contacts.RESOURCE,
    conversations.RESOURCE,
    custom_sources.RESOURCE,
    dead_letters.RESOURCE,
    events.RESOURCE,
    logs.RESOURCE,
    media.RESOURCE,
    message_traces.RESOURCE,
    messages.RESOURCE,
    metadata.RESOURCE,
    processes.RESOURCE,
    tags.RESOURCE,
    templates.RESOURCE,
    topics.RESOURCE,
    users.RESOURCE,
    webhooks.RESOURCE,
)

ACTIONS = tuple(action for resource in RESOURCES for action in resource.actions)


def any_origin(resources: Iterable[Resource]) -> frozenset[str]:
    """The paths of routes that check the origin themselves."""
    return frozenset(
        path
        for resource in resources
        for path in (
            *(path for each in resource.actions if each.any_origin for path in each.paths),
            *(each.path_template for each in resource.websockets if each.any_origin),
        )
    )


def served(resources: Iterable[Resource], running: Collection[str]) -> list[Resource]:
    """The resources of the running components."""
    return [resource for resource in resources if resource.component in running]
