"""Selects and leases due jobs, and corrects their times, within the transaction of a claim."""

from collections.abc import Mapping
from itertools import chain
from typing import Any

import apsw

from airy.queue.api import Job, QueueEntry
from airy.queue.fair_shares import Divide
from airy.queue.sqlite import sql
from airy.queue.sqlite.json_list import json_list
from airy.queue.sqlite.webhook_numbers import WebhookNumbers


def clamp(database: apsw.Connection, *, now_ms: int, lease_ms: int) -> None:
    """Brings leases and due times back that lie further ahead than they can: the clock was set back."""
    database.execute(sql.CLAMP_LEASES, (now_ms + lease_ms,))
    for (number,) in database.execute(sql.WEBHOOKS_WITH_HEADS).fetchall():
        database.execute(sql.CLAMP_HEADS, (number, now_ms))


def due_jobs(
    database: apsw.Connection,
    webhooks: WebhookNumbers,
    *,
    now_ms: int,
    jobs_max: int,
    per_webhook_max: int,
    webhook_limits: Mapping[str, int],
    divide: Divide,
) -> list[int]:
    """The oldest due heads of each webhook: a few are read at first, then more of each that gets all of them."""
    leased = dict(database.execute(sql.LEASES_PER_WEBHOOK))
    waiting: Any = database.execute(sql.WEBHOOKS_WITH_HEADS).fetchall()
    numbers = {webhooks.id(database, number): number for (number,) in waiting}
    capacities = {
        name: min(webhook_limits.get(name, per_webhook_max) - leased.get(number, 0), jobs_max)
        for name, number in numbers.items()
    }
    asked = [name for name, capacity in capacities.items() if capacity > 0]
    heads: dict[str, list[tuple[int, int]]] = {}
    shares: Mapping[str, int] = {}
    some = max(4, 2 * jobs_max // (len(asked) or 1))
    while asked:
        for name in asked:
            found: Any = database.execute(
                sql.DUE_HEADS, (numbers[name], now_ms, min(capacities[name], some))
            ).fetchall()
            heads[name] = found
        by_age = sorted((found[0], name) for name, found in heads.items() if found)
        shares = divide({name: len(heads[name]) for _, name in by_age})
        asked = [name for name, share in shares.items() if share == some < capacities[name]]
        some *= 4
    due = chain.from_iterable(heads[name][:share] for name, share in shares.items())
    return [seq for _, seq in sorted(due)]


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
        offset, nth, lane, event_id, kind, body, at_ms, position, trace, queued = entries[row]
        entry = QueueEntry((offset, nth), (webhook_id,), lane, event_id, kind, body, at_ms, position, trace, queued)
        job_id = f"{event_id}:{webhook_id}"
        jobs[seq] = Job(job_id, f"{seq}.{lease}", webhook_id, entry, attempt, first_at_ms, until_ms)
    return [jobs[seq] for seq in seqs]
