"""Renders a view model for a terminal of a given size. Pure: equal models and sizes give equal lines.

A state is shown as a symbol and a word, so that colour is never the only sign. All text is `rich.text.Text` and never
markup: text from contacts cannot style the screen.
"""

import json
from collections.abc import Iterable

from rich.text import Text

from airy.secret import Secret
from airy.tui.view_model import ConversationRow, MessageRow, ViewModel

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


def draw(model: ViewModel, *, width: int, height: int, foot: str = "") -> Text:
    """At most `height` lines, none wider than `width`."""
    width = max(WIDTH_MIN, min(width, WIDTH_MAX))
    body = list(_body(model, width))
    room = max(1, height - HEAD_ROWS - FOOT_ROWS)
    lines = [_head(model), Text(""), *body[:room]]
    if foot:
        lines += [Text(""), Text(foot, style="dim")]
    for line in lines:
        line.truncate(width, overflow="ellipsis")
    return Text("\n").join(lines)


def curl_examples(url: str, token: Secret | None, conversation_id: str) -> list[tuple[str, str]]:
    """Example commands for another terminal, as label and one line."""
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


def state_words(line: MessageRow) -> str:
    """Symbol and word of an outbound message, the error of its last attempt, and when the next one is due."""
    words = f"{STATES.get(line.state, ('·', ''))[0]} {line.state}"
    if line.next_at:
        words += f", attempt {line.attempts + 1} at {line.next_at}"
    return f"{words}: {line.error}" if line.error else words


def _head(model: ViewModel) -> Text:
    if model.unreachable:
        return Text.assemble(("Airy ", "bold"), ("not reachable: ", "bold red"), model.unreachable)
    ready = ("ready", "bold green") if model.health.ready else ("not ready", "bold red")
    head = Text.assemble(("Airy ", "bold"), ready, f" {model.health.reasons}".rstrip())
    for name, count in (("conversations", model.conversations), *model.counts):
        head.append(" · ", style="dim").append(f"{count:,}").append(f" {name}", style="dim")
    return head


def _body(model: ViewModel, width: int) -> Iterable[Text]:
    if not model.rows:
        yield Text("no conversation yet", style="dim")
    for conversation in model.rows:
        yield _title(conversation)
        for line in conversation.lines:
            yield _message(line, width)


def _title(conversation: ConversationRow) -> Text:
    title = Text.assemble(
        (conversation.at, "dim"), "  ", (conversation.name, "bold"), ("  " + conversation.source, "dim")
    )
    if conversation.unread:
        title.append(f"  {conversation.unread} unread", style="bold yellow")
    return title


def _message(line: MessageRow, width: int) -> Text:
    """The state stays visible whatever the length of the text."""
    arrow, style = ("→", "") if line.inbound else ("←", "blue")
    start = f"  {line.at}  {arrow} "
    state = "" if line.inbound else f"  {state_words(line)}"
    text = Text(line.text)
    text.truncate(max(8, width - len(start) - len(state)), overflow="ellipsis")
    return Text.assemble((start, "dim"), (text.plain, style), (state, STATES.get(line.state, ("", ""))[1]))
