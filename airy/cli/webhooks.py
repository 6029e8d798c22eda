"""`airy webhooks …`"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import rich_click as click

from airy.cli.client import Instance, client_options
from airy.cli.entered import assignments, text_value
from airy.cli.options import OK
from airy.cli.output import Output, confirm, examples, limit_option, output_options, yes_option

if TYPE_CHECKING:
    from airy.api_client import ApiClient

EXAMPLE = "7f3d1a52-0c9b-4e6f-8a1d-2b3c4d5e6f70"
ATTEMPTS_MAX = 50
FAILED = 75  # the endpoint does not take deliveries now
ID = click.argument("webhook_id", metavar="ID")
EVENTS = click.option("--event", "events", multiple=True, help="a kind of event; repeat it; default: all")
HEADERS = click.option(
    "--header", "headers", metavar="NAME=VALUE", multiple=True, help="sent with each delivery; @FILE reads the value"
)


@click.group()
def webhooks() -> None:
    """Subscribe endpoints to events, see how they do, test them, send dead deliveries again."""


@webhooks.command("list", epilog=examples("airy webhooks list", "airy webhooks list --json"))
@client_options
@output_options
def list_webhooks(instance: Instance, output: Output) -> int:
    """List webhooks by name and id, also unsubscribed ones."""
    from airy.cli.views.webhooks import WEBHOOKS

    return instance.list(output, WEBHOOKS, "/webhooks.list", {}, paged=False)


@webhooks.command("info", epilog=examples(f"airy webhooks info {EXAMPLE}"))
@ID
@client_options
@output_options
def show_webhook(webhook_id: str, instance: Instance, output: Output) -> int:
    """Show one webhook; the values of its headers are masked."""
    from airy.cli.views.webhooks import WEBHOOK

    return instance.show(output, WEBHOOK, "/webhooks.info", {"id": webhook_id})


@webhooks.command("stats", epilog=examples("airy webhooks stats", f"airy webhooks stats {EXAMPLE} -o ndjson"))
@click.argument("ids", metavar="[ID]…", nargs=-1)
@client_options
@output_options
def show_stats(ids: Sequence[str], instance: Instance, output: Output) -> int:
    """Show the health of webhooks: what waits, since when one fails, how its recent attempts went."""
    from airy.cli.views.webhooks import STATS

    return instance.list(output, STATS, "/webhooks.stats", {"ids": list(ids) or None}, paged=False)


@webhooks.command(
    "subscribe",
    epilog=examples(
        "airy webhooks subscribe https://crm.example.net/hook --event message.created --name crm",
        "airy webhooks subscribe https://crm.example.net/hook --header X-Api-Key=@key.txt --json",
    ),
)
@click.argument("endpoint", metavar="URL")
@click.option("--name", help="as people know it")
@EVENTS
@HEADERS
@click.option("--signature-key", help="for X-Airy-Content-Signature, as in the original; @FILE reads it")
@client_options
@output_options
def subscribe(endpoint: str, instance: Instance, output: Output, **given: Any) -> int:
    """Subscribe URL to events and print the signing secret: it cannot be shown again."""
    from airy.cli.views.webhooks import SIGNED_WEBHOOK

    return instance.show(output, SIGNED_WEBHOOK, "/webhooks.subscribe", {"url": endpoint, **_fields(**given)})


@webhooks.command(
    "update",
    epilog=examples(
        f"airy webhooks update {EXAMPLE} --event message.created --event message.updated",
        f"airy webhooks update {EXAMPLE} --subscribed",
    ),
)
@ID
@click.option("--address", metavar="URL", help="the new address of the endpoint")
@click.option("--name", help="as people know it")
@EVENTS
@HEADERS
@click.option("--signature-key", help="for X-Airy-Content-Signature, as in the original; @FILE reads it")
@click.option("--subscribed", is_flag=True, help="subscribe it again")
@client_options
@output_options
def update(
    webhook_id: str, address: str | None, subscribed: bool, instance: Instance, output: Output, **given: Any
) -> int:
    """Change a webhook; what is not given stays. Events and headers are replaced as a whole."""
    from airy.cli.views.webhooks import WEBHOOK

    changes = {**_fields(**given), "url": address, "status": "Subscribed" if subscribed else None}
    changes = {name: value for name, value in changes.items() if value is not None}
    if not changes:
        raise click.UsageError("pass what to change, such as --name or --event")
    return instance.show(output, WEBHOOK, "/webhooks.update", {"id": webhook_id, **changes})


@webhooks.command("unsubscribe", epilog=examples(f"airy webhooks unsubscribe {EXAMPLE} --yes"))
@ID
@yes_option
@client_options
@output_options
def unsubscribe(webhook_id: str, yes: bool, instance: Instance, output: Output) -> int:
    """Stop the deliveries to a webhook. It is kept: `update --subscribed` begins again, with newer events."""
    from airy.cli.views.webhooks import WEBHOOK

    confirm(f"Unsubscribe the webhook {webhook_id}? Events from now on are not delivered to it.", yes=yes)
    return instance.show(output, WEBHOOK, "/webhooks.unsubscribe", {"id": webhook_id})


@webhooks.command("delete", epilog=examples(f"airy webhooks delete {EXAMPLE} --yes"))
@ID
@yes_option
@client_options
@output_options
def delete(webhook_id: str, yes: bool, instance: Instance, output: Output) -> int:
    """Delete a webhook with its queued deliveries and its recent attempts."""
    confirm(f"Delete the webhook {webhook_id}? Its queued deliveries are deleted too.", yes=yes)
    return instance.change(output, "deleted", "/webhooks.delete", {webhook_id: {"id": webhook_id}})


@webhooks.command("rotate-secret", epilog=examples(f"airy webhooks rotate-secret {EXAMPLE}"))
@ID
@client_options
@output_options
def rotate_secret(webhook_id: str, instance: Instance, output: Output) -> int:
    """Create a new signing secret and print it; the previous one keeps signing as well."""
    from airy.cli.views.webhooks import SIGNED_WEBHOOK

    return instance.show(output, SIGNED_WEBHOOK, "/webhooks.rotate-secret", {"id": webhook_id})


@webhooks.command("test", epilog=examples(f"airy webhooks test {EXAMPLE}"))
@ID
@client_options
@output_options
def test(webhook_id: str, instance: Instance, output: Output) -> int:
    """Send one signed event of the type webhook.test now and print what the endpoint answers.

    Exit code 75: the endpoint failed, or was not reached.
    """
    from airy.cli.views.webhooks import ATTEMPT

    async def task(client: "ApiClient") -> int:
        attempt = await client.call("/webhooks.test", {"id": webhook_id}, dict[str, Any])
        output.one(ATTEMPT, attempt)
        return OK if attempt["outcome"] == "delivered" else FAILED

    return instance.run(task)


@webhooks.command("attempts", epilog=examples(f"airy webhooks attempts {EXAMPLE} --limit 10"))
@ID
@click.option("--limit", type=click.IntRange(1, ATTEMPTS_MAX), default=ATTEMPTS_MAX, show_default=True, help="rows")
@client_options
@output_options
def list_attempts(webhook_id: str, limit: int, instance: Instance, output: Output) -> int:
    """List the recent attempts to deliver to a webhook, newest first; fifty are kept."""
    from airy.cli.views.webhooks import ATTEMPTS

    body = {"id": webhook_id, "page_size": limit}
    return instance.list(output, ATTEMPTS, "/webhooks.attempts", body, paged=False)


@webhooks.command("dead", epilog=examples("airy webhooks dead", f"airy webhooks dead {EXAMPLE} --limit 0 -o ndjson"))
@click.argument("webhook_id", metavar="[ID]", required=False)
@limit_option
@client_options
@output_options
def list_dead(webhook_id: str | None, limit: int, instance: Instance, output: Output) -> int:
    """List dead deliveries, of one webhook or of all, newest first; those that are being replayed are left out."""
    from airy.cli.views.webhooks import DEAD_DELIVERIES

    return instance.list(output, DEAD_DELIVERIES, "/webhooks.dead-letters", {"id": webhook_id}, limit=limit)


@webhooks.command(
    "replay",
    epilog=examples(
        f"airy webhooks replay {EXAMPLE} --yes",
        f"airy webhooks replay --delivery 0b7e9c2a-4f1d-5b0e-8d7a-6a1c2f3e4d5b:{EXAMPLE}",
    ),
)
@click.argument("webhook_id", metavar="[ID]", required=False)
@click.option("--delivery", help="only this dead delivery; `airy webhooks dead` has the ids")
@yes_option
@client_options
@output_options
def replay(webhook_id: str | None, delivery: str | None, yes: bool, instance: Instance, output: Output) -> int:
    """Send dead deliveries again, with the same ids and bytes: one, or the newest hundred of a webhook."""
    from airy.cli.views.webhooks import REPLAY

    if (webhook_id is None) == (delivery is None):
        raise click.UsageError("name a webhook, or pass --delivery")
    if webhook_id is not None:
        confirm(f"Send the dead deliveries of the webhook {webhook_id} again?", yes=yes)
    body = {"delivery_id": delivery} if delivery else {"id": webhook_id}
    return instance.show(output, REPLAY, "/webhooks.replay", body)


def _fields(
    *, name: str | None, events: Sequence[str], headers: Sequence[str], signature_key: str | None
) -> dict[str, object]:
    """The fields of a request that were given."""
    fields: dict[str, object] = {
        "name": name,
        "events": list(events) or None,
        "headers": assignments("--header", headers) or None,
        "signature_key": text_value("--signature-key", signature_key) if signature_key else None,
    }
    return {field: value for field, value in fields.items() if value is not None}
