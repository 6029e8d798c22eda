"""`airy logs`: the last log lines of the processes."""

from typing import TYPE_CHECKING, Any

import rich_click as click

from airy.cli.client import Instance, client_options
from airy.cli.options import OK
from airy.cli.output import ALL, Output, examples, limit_option, note, output_options

if TYPE_CHECKING:
    from airy.api_client import ApiClient

PATH = "/logs.list"
LEVELS = ("debug", "info", "warning", "error", "critical")
PAGE_LINES_MAX = 1_000


@click.command(
    epilog=examples(
        "airy logs",
        "airy logs -f --level warning",
        "airy logs --since -15m --component dispatcher --limit 0",
        "airy logs -f -o ndjson | jq 'select(.level == \"error\")'",
    )
)
@click.option("--follow", "-f", is_flag=True, help="go on with lines as they are written, until Ctrl-C (exit code 130)")
@click.option("--level", type=click.Choice(LEVELS), default="debug", show_default=True, help="this level and worse")
@click.option("--component", help="only of this component, actor or logger")
@click.option("--words", help="only lines with all of these words")
@click.option("--since", metavar="TIME", help="from this time on: 14:30, '2026-11-30 14:30', -15m. Default: the newest")
@limit_option
@client_options
@output_options
def logs(
    follow: bool,
    level: str,
    component: str | None,
    words: str | None,
    since: str | None,
    limit: int,
    instance: Instance,
    output: Output,
) -> int:
    """Print the last log lines of all processes, in order of time. The token needs the permission operate.

    With --follow the limit is of the first lines only; a restart of a process or of the instance ends nothing.
    """
    from airy.cli.following import where

    given: dict[str, Any] = where(since) if since else {"time": 0} if limit == ALL else {}
    if "offset" in given:
        raise click.UsageError("--since takes a time: 14:30, -15m")
    request = {"level": level, "component": component, "words": words, "since": given.get("time")}
    return instance.run(lambda client: _print(client, request, limit, output, follow=follow))


async def _print(client: "ApiClient", request: dict[str, Any], limit: int, output: Output, *, follow: bool) -> int:
    from airy.cli.following import read_all
    from airy.cli.views.logs import LOG_LINES

    wanted, left = dict(request), limit or None
    with output.writer(LOG_LINES) as writer:

        async def read() -> bool:
            nonlocal left
            size = PAGE_LINES_MAX if left is None else min(left, PAGE_LINES_MAX)
            page = await client.call(PATH, {**wanted, "limit": size}, dict[str, Any])
            rows, after = page["data"], page["pagination_data"]
            if rows:
                writer.write(rows)
            if after["lost"]:
                note(f"{sum(after['lost'].values()):,} lines were dropped before they could be read")
            wanted["positions"] = after["positions"]
            left = None if left is None or follow else left - len(rows)
            return after["more"] and left != 0

        await read_all(read, follow=follow)
    if not writer.written:
        note(f"no {LOG_LINES.what}")
    return OK
