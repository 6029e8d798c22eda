"""Selects and leases due jobs, and corrects their times, within the transaction of a claim."""

from itertools import chain
from typing import Any

import apsw

from airy.queue.api import DELAY_MS_MAX, Job, QueueEntry
from airy.queue.sqlite import sql
from airy.queue.sqlite.json_list import json_list
from airy.queue.sqlite.webhook_numbers import WebhookNumbers


def clamp(database: apsw.Connection, *, now_ms: int, lease_ms: int) -> None:
    """Brings leases and due times back that lie further ahead than they can: the clock was set back."""
    database.execute(sql.CLAMP_LEASES, (now_ms + lease_ms,))
    for (number,) in database.execute(sql.WEBHOOKS_WITH_HEADS).fetchall():
        database.execute(sql.CLAMP_HEADS, (number, now_ms, DELAY_MS_MAX))


def due_jobs(
    database: apsw.Connection,
    webhooks: WebhookNumbers,
    *,
    now_ms: int,
    jobs_max: int,
    per_webhook_max: int,
    exclude_webhooks: frozenset[str],
) -> list[int]:
    """The oldest due heads: a few of each webhook at first, then more of each webhook whose few are all among them."""
    leased = dict(database.execute(sql.LEASES_PER_WEBHOOK))
    waiting: Any = database.execute(sql.WEBHOOKS_WITH_HEADS).fetchall()
    capacities = {
        number: min(per_webhook_max - leased.get(number, 0), jobs_max)
        for (number,) in waiting
        if webhooks.id(database, number) not in exclude_webhooks
    }
    asked = [number for number, capacity in capacities.items() if capacity > 0]
    heads: dict[int, list[tuple[int, int]]] = {}
    due: list[tuple[int, int]] = []
    some = max(4, 2 * jobs_max // (len(asked) or 1))
    while asked:
        for number in asked:
            found: Any = database.execute(sql.DUE_HEADS, (number, now_ms, min(capacities[number], some))).fetchall()
            heads[number] = found
        due = sorted(chain.from_iterable(heads.values()))[:jobs_max]
        asked = [one for one in asked if len(heads[one]) == some < capacities[one] and heads[one][-1] <= due[-1]]
        some *= 4
    return [seq for _, seq in due]


def lease_jobs(
    database: apsw.Connection, webhooks: WebhookNumbers, seqs: list[int], *, lease: str, now_ms: int, until_ms: int
) -> list[Job]:
    """The jobs in the order of `seqs`, each with the token `<seq>.<lease>`."""
    leased: Any = database.execute(sql.LEASE, (until_ms, lease, now_ms, json_list(seqs))).fetchall()
    rows: Any = database.execute(sql.ENTRIES, (json_list([row for _, _, row, _, _ in leased]),))
    entries = {row: fields for row, *fields in rows}
    jobs: dict[int, Job] = {}
    for seq, number, row, attempt, first_at_ms in leased:
        webhook_id = webhooks.id(database, number)
        offset, nth, lane, event_id, kind, body, at_ms, position, trace = entries[row]
        entry = QueueEntry((offset, nth), (webhook_id,), lane, event_id, kind, body, at_ms, position, trace)
        job_id = f"{event_id}:{webhook_id}"
        jobs[seq] = Job(job_id, f"{seq}.{lease}", webhook_id, entry, attempt, first_at_ms, until_ms)
    return [jobs[seq] for seq in seqs]
