"""What a worker reports about a leased job; every backend batches and applies these."""

from typing import Literal

from msgspec import Struct

from airy.queue.api import Job


class JobOutcome(Struct, frozen=True, gc=False):
    job: Job
    verb: Literal["complete", "retry", "release", "dead_letter"]
    at_ms: int = 0  # retry: when the job is due again; dead_letter: now
    delay_ms: int = 0  # retry: from now until it is due
    reason: str = ""
