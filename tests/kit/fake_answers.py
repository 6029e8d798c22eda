"""How fakes answer: pages with cursors, and errors."""

from typing import Any

Document = dict[str, Any]


class FakeRefusal(Exception):
    """An error response."""

    def __init__(self, status: int, message: str, field: str) -> None:
        super().__init__(message)
        self.status = status
        self.document = {"message": message, "code": "x", "fields": [{"field": field, "message": message}]}


def page(items: list[Document], body: Document) -> Document:
    """The page at `cursor`, which is the id of its first item."""
    names = [str(each.get("id") or each.get("delivery_id")) for each in items]
    start, size = names.index(body["cursor"]) if body.get("cursor") else 0, body.get("page_size") or 20
    end = start + size
    pagination = {
        "previous_cursor": names[max(0, start - size)] if start else None,
        "next_cursor": names[end] if end < len(names) else None,
        "total": len(items),
    }
    return {"data": items[start:end], "pagination_data": pagination}


def known(items: dict[str, Document], id_: str, what: str, field: str = "id") -> Document:
    if id_ not in items:
        raise FakeRefusal(404, f"there is no {what} {id_}", field)
    return items[id_]
