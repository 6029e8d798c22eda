"""`airy tail`: events as they happen."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import rich_click as click

from airy.cli.client import Instance, client_options
from airy.cli.options import OK, load_config, run_command
from airy.cli.output import Output, examples, output_options

EXAMPLE = "0b7e9c2a-4f1d-5b0e-8d7a-6a1c2f3e4d5b"
KINDS = (
    "message.created",
    "message.updated",
    "message.deleted",
    "conversation.updated",
    "metadata.updated",
    "channel.updated",
    "tag.updated",
)


@click.command(
    epilog=examples(
        "airy tail",
        "airy tail --kind message.created --filter 'facebook -echo'",
        f"airy tail --conversation {EXAMPLE} -o ndjson | jq .payload",
        "airy tail -o ndjson --resume-file position.txt >> events.ndjson",
    )
)
@click.option("--kind", "kinds", type=click.Choice(KINDS), multiple=True, help="only this type; repeat it for several")
@click.option("--conversation", "conversations", metavar="ID", multiple=True, help="only events of this conversation")
@click.option("--channel", "channels", metavar="ID", multiple=True, help="only events of this channel")
@click.option("--filter", "words", default="", help="only events with all of these words; with -WORD without it")
@click.option("--since", metavar="RESUME", help="continue after this event: the `resume` of the last one")
@click.option(
    "--resume-file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="keep the position in this file, and continue there the next time",
)
@click.option("--limit", type=click.IntRange(min=0), default=0, help="end after so many events; default: never")
@client_options
@output_options
def tail(
    kinds: Sequence[str],
    conversations: Sequence[str],
    channels: Sequence[str],
    words: str,
    since: str | None,
    resume_file: Path | None,
    limit: int,
    instance: Instance,
    output: Output,
) -> int:
    """Print changes of conversations, messages, channels and tags as they happen.

    When the connection ends it is made again, also after a restart of the instance, and continues without a gap.
    """
    from airy.cli import event_tail
    from airy.cli.resume_file import read_position, write_position
    from airy.cli.views.events import EVENTS
    from airy.tui.console import event_feed, websocket_source

    if since and resume_file:
        raise click.UsageError("pass --since or --resume-file, not both")
    if resume_file and not resume_file.parent.is_dir():
        raise click.UsageError(f"--resume-file: there is no directory {resume_file.parent}")
    scope = {"kind": kinds, "conversation_id": conversations, "channel_id": channels}
    save = partial(write_position, resume_file) if resume_file else None

    async def task() -> int:
        url, token = instance.address()
        request = event_tail.TailRequest(words=words, events_max=limit, url=url, save=save)
        source = websocket_source.WebsocketSource(url, token, scope)
        resume = read_position(resume_file) if resume_file else since
        with output.writer(EVENTS) as writer:
            await event_tail.follow(event_feed.EventFeed(source, resume=resume), writer, request)
        return OK

    return run_command(load_config(instance.file, instance.data), task)
