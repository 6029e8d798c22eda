"""What `airy topics show` and `airy topics browse` print."""

from collections.abc import Sequence
from typing import Any

from airy.api_client import ApiClient, RequestRefused
from airy.cli.following import read_all
from airy.cli.options import OK
from airy.cli.output import Output, note
from airy.cli.views.topics import RECORDS, TOPIC_PARTITIONS, TOPICS, partition_rows

PAGE_RECORDS_MAX = 200


async def print_topics(
    client: ApiClient, output: Output, names: Sequence[str], *, everything: bool, partitions: bool
) -> int:
    """Raises `RequestRefused` for a name that no topic has."""
    rows = (await client.call("/topics.list", {}, dict[str, Any]))["data"]
    unknown = sorted({*names} - {row["name"] for row in rows})
    if unknown:
        raise RequestRefused(f"there is no topic {unknown[0]}; airy topics show --all lists them", status=404)
    wanted = [row for row in rows if row["name"] in names] if names else rows
    shown = wanted if names or everything else [row for row in wanted if row["records"]]
    if partitions:
        output.rows(TOPIC_PARTITIONS, [row for topic in shown for row in partition_rows(topic)])
    else:
        output.rows(TOPICS, shown)
    return OK


async def print_records(client: ApiClient, output: Output, request: dict[str, Any], limit: int, *, follow: bool) -> int:
    """Pages from a start on, or the newest records; with `follow` those that come later too."""
    wanted, left = dict(request), limit or None
    with output.writer(RECORDS) as writer:
        if _is_of_the_newest(request):
            rows, newer = await _newest(client, request, limit)
            writer.write(rows)
            wanted, left = _behind(request, newer), 0 if not follow else None

        async def read() -> bool:
            nonlocal wanted, left
            if left == 0:
                return False
            size = PAGE_RECORDS_MAX if left is None else min(left, PAGE_RECORDS_MAX)
            page = await client.call("/topics.browse", {**wanted, "page_size": size}, dict[str, Any])
            rows, after = page["data"], page["pagination_data"]
            if rows:
                writer.write(rows)
            wanted = _behind(request, after["newer"])
            left = None if left is None or follow else left - len(rows)
            return not after["at_end"] and left != 0

        await read_all(read, follow=follow)
    if not writer.written:
        note(f"no {RECORDS.what}")
    return OK


def _is_of_the_newest(request: dict[str, Any]) -> bool:
    return not {"offset", "time", "direction"} & request.keys()


def _behind(request: dict[str, Any], newer: dict[str, int]) -> dict[str, Any]:
    """The request for what follows a page."""
    return {"topic": request["topic"], "key": request["key"], "positions": newer}


async def _newest(
    client: ApiClient, request: dict[str, Any], limit: int
) -> tuple[list[dict[str, Any]], dict[str, int]]:
    """The last `limit` records, oldest first, and where later ones begin."""
    pages: list[list[dict[str, Any]]] = []
    wanted, left, newer = dict(request), limit, None
    while left > 0:
        size = min(left, PAGE_RECORDS_MAX)
        page = await client.call("/topics.browse", {**wanted, "page_size": size}, dict[str, Any])
        around = page["pagination_data"]
        newer = around["newer"] if newer is None else newer
        pages.insert(0, page["data"])
        left -= len(page["data"])
        if around["older"] is None:
            break
        wanted = {**_behind(request, around["older"]), "direction": "older"}
    return [row for each in pages for row in each], newer or {}
