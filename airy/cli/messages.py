"""`airy messages …`"""

from collections.abc import Mapping, Sequence
from typing import Any

import rich_click as click

from airy.cli.client import Instance, client_options
from airy.cli.entered import json_value
from airy.cli.output import Output, examples, limit_option, output_options

CONVERSATION = "0b7e9c2a-4f1d-5b0e-8d7a-6a1c2f3e4d5b"
MESSAGE = "b3f1c6de-90a4-5c7d-9f58-1d2e3c4b5a69"
IDS = click.argument("ids", metavar="ID…", nargs=-1, required=True)


@click.group()
def messages() -> None:
    """List, send, resend and cancel messages."""


@messages.command(
    "list",
    epilog=examples(
        f"airy messages list {CONVERSATION} --limit 20", f"airy messages list {CONVERSATION} --limit 0 -o ndjson"
    ),
)
@click.argument("conversation_id", metavar="CONVERSATION")
@limit_option
@client_options
@output_options
def list_messages(conversation_id: str, limit: int, instance: Instance, output: Output) -> int:
    """List the messages of a conversation, newest first."""
    from airy.cli.views.messages import MESSAGES

    return instance.list(output, MESSAGES, "/messages.list", {"conversation_id": conversation_id}, limit=limit)


@messages.command("show", epilog=examples(f"airy messages show {MESSAGE} --json"))
@click.argument("message_id", metavar="ID")
@client_options
@output_options
def show_message(message_id: str, instance: Instance, output: Output) -> int:
    """Show one message; `airy trace` shows what happened to it."""
    from airy.cli.views.messages import MESSAGE as VIEW

    return instance.show(output, VIEW, "/messages.info", {"message_id": message_id})


@messages.command(
    "send",
    epilog=examples(
        f"airy messages send {CONVERSATION} --text 'Yes, three left.'",
        f"""airy messages send {CONVERSATION} --canonical '{{"type": "text", "text": "Yes"}}'""",
        "airy messages send --channel 5a1f0c3b-7d2e-4b6a-9c8d-0e1f2a3b4c5d --recipient +4930123456 --text Hello",
    ),
)
@click.argument("conversation_id", metavar="[CONVERSATION]", required=False)
@click.option("--text", help="a text, in common terms for every source")
@click.option("--canonical", metavar="JSON", help="content in common terms (docs/sources.md); @FILE reads it, @- stdin")
@click.option("--content", metavar="JSON", help="content as the provider takes it; @FILE reads it, @- stdin")
@click.option("--channel", "channel_id", help="with --recipient: start a conversation in this channel")
@click.option("--recipient", help="the contact at the provider")
@click.option("--key", help="idempotency key: repeating the command with it sends once")
@client_options
@output_options
def send_message(instance: Instance, output: Output, key: str | None, **given: str | None) -> int:
    """Send a message. The answer is pending; the state becomes delivered or failed."""
    from airy.cli.views.messages import MESSAGE as VIEW

    headers = {"idempotency-key": key} if key else {}
    return instance.show(output, VIEW, "/messages.send", {**_to(given), "message": _content(given)}, headers=headers)


@messages.command("resend", epilog=examples(f"airy messages resend {MESSAGE}"))
@IDS
@client_options
@output_options
def resend_messages(ids: Sequence[str], instance: Instance, output: Output) -> int:
    """Send failed messages again."""
    return instance.change(output, "queued again", "/messages.resend", _bodies(ids))


@messages.command("cancel", epilog=examples(f"airy messages cancel {MESSAGE}"))
@IDS
@client_options
@output_options
def cancel_messages(ids: Sequence[str], instance: Instance, output: Output) -> int:
    """Cancel messages that wait to be sent: they fail, and the next ones of their conversations are sent."""
    return instance.change(output, "cancelled", "/messages.cancel", _bodies(ids))


def _to(given: Mapping[str, str | None]) -> dict[str, str]:
    """The conversation, or the channel and the recipient of a new one."""
    conversation, channel, recipient = given["conversation_id"], given["channel_id"], given["recipient"]
    if conversation and not channel and not recipient:
        return {"conversation_id": conversation}
    if channel and recipient and not conversation:
        return {"channel_id": channel, "source_recipient_id": recipient}
    raise click.UsageError("name a conversation, or pass --channel and --recipient")


def _content(given: Mapping[str, str | None]) -> Any:
    text, canonical, content = given["text"], given["canonical"], given["content"]
    if [text, canonical, content].count(None) != 2:
        raise click.UsageError("pass one of --text, --canonical and --content")
    if content is not None:
        return json_value("--content", content)
    return {"canonical": {"type": "text", "text": text} if canonical is None else json_value("--canonical", canonical)}


def _bodies(ids: Sequence[str]) -> dict[str, dict[str, object]]:
    return {each: {"message_id": each} for each in ids}
