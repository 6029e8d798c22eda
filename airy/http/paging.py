"""Pages, as every list that has them shows them."""

from airy.store.api import Page


def envelope(page: Page, data: list[dict[str, object]]) -> dict[str, object]:
    pagination: dict[str, object] = {
        "previous_cursor": page.previous_cursor,
        "next_cursor": page.next_cursor,
        "total": page.total,
    }
    if not page.complete:
        pagination["complete"] = False  # the filter met more than one query may look at: `total` is a lower bound
    return {"data": data, "pagination_data": pagination}
