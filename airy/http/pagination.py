"""The response body of every paginated list."""

from typing import Any

from airy.store.api import Page


def page_body(page: Page[Any], data: list[dict[str, object]]) -> dict[str, object]:
    pagination: dict[str, object] = {
        "previous_cursor": page.previous_cursor,
        "next_cursor": page.next_cursor,
        "total": page.total,
    }
    if not page.complete:
        pagination["complete"] = False  # the filter reached the scan limit of a query: `total` is a lower bound
    return {"data": data, "pagination_data": pagination}
