"""Draws a picture into a terminal of a given size. Pure: the same picture and size give the same lines.

State is told twice, by a symbol and by a word, so that colour is never the only bearer. All text is
`rich.text.Text` and never markup: what a contact writes cannot style the screen.
"""

import json
from collections.abc import Iterable

from rich.text import Text

from airy.secret import Secret
from airy.tui.picture import Line, Picture, Talk

STATES: dict[str, tuple[str, str]] = {  # word: symbol and style
    "pending": ("…", "yellow"),
    "unknown": ("?", "magenta"),
    "sent": ("✓", "cyan"),
    "delivered": ("✓✓", "green"),
    "read": ("●", "bold green"),
    "failed": ("✗", "bold red"),
}
WIDTH_MIN = 40
WIDTH_MAX = 160
HEAD_ROWS = 2
FOOT_ROWS = 2


def draw(picture: Picture, *, width: int, height: int, foot: str = "") -> Text:
    """At most `height` lines, none wider than `width`."""
    width = max(WIDTH_MIN, min(width, WIDTH_MAX))
    body = list(_body(picture, width))
    room = max(1, height - HEAD_ROWS - FOOT_ROWS)
    lines = [_head(picture), Text(""), *body[:room]]
    if foot:
        lines += [Text(""), Text(foot, style="dim")]
    for line in lines:
        line.truncate(width, overflow="ellipsis")
    return Text("\n").join(lines)


def curls(url: str, token: Secret | None, conversation_id: str) -> list[tuple[str, str]]:
    """What to paste into another terminal: a label and one line for each."""
    secret = f" -H 'Authorization: Bearer {token.reveal()}'" if token else ""

    def curl(path: str, body: dict[str, object]) -> str:
        data = json.dumps(body, ensure_ascii=False)
        return f"curl -sS {url}{path}{secret} -H 'Content-Type: application/json' -d '{data}'"

    return [
        ("list conversations", curl("/conversations.list", {})),
        ("list its messages", curl("/messages.list", {"conversation_id": conversation_id})),
        (
            "send a reply",
            curl(
                "/messages.send",
                {"conversation_id": conversation_id, "message": {"text": "Hello from the terminal"}},
            ),
        ),
    ]


def state_words(line: Line) -> str:
    """Symbol and word of a message of ours."""
    symbol = STATES.get(line.state, ("·", ""))[0]
    return f"{symbol} {line.state}{f': {line.error}' if line.error else ''}"


def _head(picture: Picture) -> Text:
    if picture.lost:
        return Text.assemble(("Airy ", "bold"), ("not reachable: ", "bold red"), picture.lost)
    ready = ("ready", "bold green") if picture.health.ready else ("not ready", "bold red")
    head = Text.assemble(("Airy ", "bold"), ready, f" {picture.health.words}".rstrip())
    for name, count in (("conversations", picture.conversations), *picture.counts):
        head.append(" · ", style="dim").append(f"{count:,}").append(f" {name}", style="dim")
    return head


def _body(picture: Picture, width: int) -> Iterable[Text]:
    if not picture.talks:
        yield Text("no conversation yet", style="dim")
    for talk in picture.talks:
        yield _title(talk)
        for line in talk.lines:
            yield _message(line, width)


def _title(talk: Talk) -> Text:
    title = Text.assemble((talk.at, "dim"), "  ", (talk.name, "bold"), ("  " + talk.source, "dim"))
    if talk.unread:
        title.append(f"  {talk.unread} unread", style="bold yellow")
    return title


def _message(line: Line, width: int) -> Text:
    """The state stays visible whatever the length of the text."""
    arrow, style = ("→", "") if line.inbound else ("←", "blue")
    start = f"  {line.at}  {arrow} "
    state = "" if line.inbound else f"  {state_words(line)}"
    text = Text(line.text)
    text.truncate(max(8, width - len(start) - len(state)), overflow="ellipsis")
    return Text.assemble((start, "dim"), (text.plain, style), (state, STATES.get(line.state, ("", ""))[1]))
