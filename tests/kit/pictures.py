"""Pictures of the console over a small bakery, the same at every run: `make pictures` writes them to docs/pictures/."""

import os
import re
import time
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from airy.tui.console.navigation import VIEWS, Entry
from tests.kit import fake_traces
from tests.kit.console import OpenConsole, console
from tests.kit.fake_instance import NOW_MS, FakeInstance
from tests.kit.fake_operations import FakeOperations
from tests.kit.pictured_log import write_lines, write_log

PICTURES = Path(__file__).parents[2] / "docs" / "pictures"
SIZE = (110, 28)
LIVE_S = 19
TALK = (  # name, source, unread, and what was said: > by the contact, < by us
    ("Björn Nyström", "telegram", 0, (">Do you make birthday cakes?", "<We do: two days before, please.")),
    ("Maya Okafor", "twilio.sms", 1, (">Is the parking space behind the shop yours?",)),
    ("Aylin Şahin", "whatsapp", 0, (">Two poppy rolls for Saturday, please", "<Noted!", ">Thank you, see you then")),
    (
        "Ines Kuhn",
        "facebook",
        2,
        (">Hi! Is the rye bread back?", "<Yes, from Thursday on.", ">Great. Keep one for me?"),
    ),
)
TREE = (  # path, phase, supervises, steps per second, restarts, error
    ("airy", "ready", 7, 0, 0, None),
    ("airy/bus", "ready", 0, 34, 0, None),
    ("airy/store", "ready", 0, 11, 0, None),
    ("airy/http", "ready", 0, 7, 0, None),
    ("airy/sources", "ready", 3, 0, 0, None),
    ("airy/sources/sources-facebook", "ready", 0, 5, 0, None),
    ("airy/sources/sources-telegram", "ready", 0, 2, 0, None),
    ("airy/sources/connector", "ready", 0, 4, 0, None),
    ("airy/webhook-publisher", "ready", 1, 0, 0, None),
    ("airy/webhook-publisher/publisher", "ready", 0, 9, 0, None),
    ("airy/webhook-consumer", "ready", 1, 0, 0, None),
    ("airy/webhook-consumer/dispatcher", "backing_off", 0, 0, 3, "redis 10.0.0.7:6379: connection refused"),
)
FIRST_KEYS = {"trace": ("slash", *"m-3-1", "enter")}  # pressed in a view to have something to show
COMPONENTS = ("api-admin", "api-communication", "api-websocket", "sources-facebook", "webhook-consumer")


def bakery() -> FakeInstance:
    instance = FakeInstance()
    instance.fleet = {"data": [_process("bakery-1:8080"), _process("bakery-2:8080", ready=False)], "components": {}}
    for number, (name, source, unread, said) in enumerate(TALK):
        instance.conversation(f"c-{number}", name, source=source, unread=unread)
        for nth, line in enumerate(said):
            inbound, state = line.startswith(">"), "failed" if "Noted" in line else "delivered"
            at = f"2026-01-01T09:{10 * number + nth:02}:00.000Z"
            key = f"m-{number}-{nth}"
            instance.message(f"c-{number}", key, {"text": line[1:]}, from_contact=inbound, state=state, sent_at=at)
            if not inbound and state == "delivered":
                instance.receipt(f"c-{number}", key, "read")
    operations = instance.operations
    operations.webhook("w-shop", "shop")
    operations.webhook("w-crm", "crm", "answered 500", "timed out")
    _health_of_webhooks(operations)
    operations.channel("ch-1", "facebook", "Corner Bakery")
    operations.channel("ch-2", "telegram", "Bakery bot")
    operations.channel("ch-3", "whatsapp", "Bakery WhatsApp", state="failing", reason="the token was revoked", since="")
    operations.letter("d-1", "not JSON: line 1 column 18", '{"object": "page", ')
    operations.letter("d-2", "a fact of version 9, this process knows 8", '{"kind": "message.received"}')
    operations.traces = {"m-3-1": fake_traces.sent()}
    write_log(instance.topics)
    write_lines(instance.logs)
    step(instance, 0)
    return instance


def _health_of_webhooks(operations: FakeOperations) -> None:
    fine = operations.attempt("w-shop", 4, response="thanks")
    operations.stats["w-shop"] = {"success_rate": 1.0, "in_flight": 1, "last_attempt": fine}
    operations.attempt("w-crm", 1)
    operations.attempt("w-crm", 2, outcome="retry", status=None, latency_ms=15_000, error="no answer within 15 s")
    retry = {"attempt": 2, "outcome": "retry", "status": 503, "next_attempt_at": "2026-01-01T10:05:03.000Z"}
    operations.stats["w-crm"] = {
        "health": "failing",
        "waiting": 41,
        "oldest_at": "2026-01-01T09:12:00.000Z",
        "retry_at": "2026-01-01T10:05:03.000Z",
        "failing_since": "2026-01-01T09:12:30.000Z",
        "failures": 26,
        "success_rate": 0.48,
        "last_attempt": operations.attempt("w-crm", 3, **retry, response="try again later"),
    }


def _process(name: str, *, ready: bool = True) -> dict[str, Any]:
    return {
        "instance": name,
        "ready": ready,
        "waiting_for": {} if ready else {"airy/webhook-consumer/dispatcher": "redis 10.0.0.7:6379: connection refused"},
        "components": {each: {"ready": ready or each != "webhook-consumer", "restarts": 0} for each in COMPONENTS},
        "memory_bytes": 125_829_120,
        "fold": {"lag": 0, "age_s": 0.04, "caught_up": True},
    }


def step(instance: FakeInstance, second: int) -> None:
    """The counters after so many seconds."""
    busy = sum(3 + nth * 7 % 5 for nth in range(second))
    for name, per in (("facts_total", 3), ('ingress_total{kind="accepted"}', 2), ("webhooks_delivered_total", 1)):
        instance.counts[f"airy_{name}"] = float(busy * per)
    instance.counts['airy_responses_total{kind="2xx"}'] = float(busy)
    actors = [
        {
            "path": path,
            "phase": phase,
            "supervises": children,
            "restarts": restarts,
            "error": error,
            "steps": per_s * second,
            "progress_age_s": 0.0,
        }
        for path, phase, children, per_s, restarts, error in TREE
    ]
    at = datetime.fromtimestamp(NOW_MS / 1000 + second, UTC).isoformat()
    instance.operations.trees = [
        {"instance": "bakery-2:8080", "at": at, "actors": actors},
        {"instance": "bakery-1:8080", "at": at, "answering": False, "age_s": 3.0, "actors": actors},
    ]


async def picture(entry: Entry, *, theme: str = "night", size: tuple[int, int] = SIZE) -> str:
    """The SVG of a view after a while."""
    async with console(bakery(), view=entry.name, theme=theme, size=size, writes=True) as shown:
        await shown.press(*FIRST_KEYS.get(entry.name, ()))
        await live(shown, range(1, LIVE_S + 1))
        return plain(shown.app.export_screenshot(title="airy console"))


async def live(shown: OpenConsole, seconds: Iterable[int]) -> None:
    """Customers write and counters advance."""
    for second in seconds:
        step(shown.instance, second)
        if second % 3 == 0:
            _event(shown, second // 3)
        await shown.settle(1.0)


def _event(shown: OpenConsole, number: int) -> None:
    name, source, _, said = TALK[number % len(TALK)]
    message = {
        "id": f"m-{number}",
        "sent_at": "2026-01-01T09:30:00.000Z",
        "delivery_state": "delivered",
        "from_contact": True,
        "content": {"text": said[0][1:]},
    }
    subject = f"c0ffee{number:02}-0000-4000-8000-000000000000"
    shown.events.append("message.created", {"conversation_id": subject, "message": message})
    conversation = {"id": subject, "channel": {"source": source}, "metadata": {"contact": {"display_name": name}}}
    shown.events.append("conversation.updated", conversation)


def plain(svg: str) -> str:
    """Without fonts from another host, and without the checksum that Textual writes into every class."""
    return re.sub(r"terminal-\d+", "terminal", re.sub(r"\s*@font-face \{.*?\}\n", "\n", svg, flags=re.DOTALL))


def use_utc() -> None:
    """The console shows local times; pictures are of Greenwich."""
    os.environ["TZ"] = "UTC"
    time.tzset()


async def write_pictures() -> None:
    PICTURES.mkdir(exist_ok=True)
    for entry in VIEWS:
        (PICTURES / f"{entry.name}.svg").write_text(await picture(entry))
