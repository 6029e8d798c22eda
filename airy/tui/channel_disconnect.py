"""Disconnects a channel of any source, for the console and the command line."""

from airy.api_client import ApiClient, RequestRefused


async def disconnect_channel(client: ApiClient, channel_id: str, source: str) -> None:
    """By the path of its source, which may tell the provider. A custom source has none of its own: it has an id.

    Raises `RequestRefused`, `Refused`, `Unavailable`.
    """
    body = {"channel_id": channel_id}
    try:
        await client.call(f"/channels.{source}.disconnect", body, object)
    except RequestRefused as error:
        if error.status != 404:
            raise
        try:
            await client.call("/channels.custom.disconnect", body, object)
        except RequestRefused:
            raise error from None
