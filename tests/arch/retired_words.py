"""Words that were replaced by the field's terms, each with the term to use instead.

A word matches whole and in any case, also as a part of an identifier: `shelf` matches `Shelf`, `_shelf` and
`fetchShelf`, and not `bookshelf`. Words with a second, ordinary meaning are listed as class names (`CLASSES`).
"""

WORDS: dict[str, str] = {
    # a program is a named thing, not a person
    "anybody": "any client, any process",
    "everybody": "every process, every client",
    "everyone": "every process, every client",
    "nobody": "no process, no subscriber",
    "somebody": "another process, a client",
    "whoever": "name the actor, process or caller",
    "whom": "name the recipient",
    "deaf": "does not receive, does not respond",
    "goodbye": "tombstone, clean-up",
    "hears": "receives",
    "luck": "random stream",
    "mood": "state",
    "moods": "states",
    # bus
    "hush": "log throttle",
    "impatient": "with_request_timeout",
    "ledger": "offset tracker",
    "pulse": "lifecycle",
    "shelf": "fetch buffer",
    "sieve": "compaction filter",
    "upkeep": "retention",
    # runtime
    "bell": "wake-up",
    "essence": "primary error",
    "incarnate": "run_once",
    "incarnation": "run",
    "leash": "detached task",
    "seat": "child state",
    # actors and commands
    "announcer": "heartbeat publisher",
    "astray": "out of range",
    "follower": "projector",
    "footing": "partition readiness",
    "janitor": "change pruner",
    "unpark": "parked replayer, replay",
    # webhooks and their queue
    "allot": "allocation",
    "breathe": "checkpoint",
    "burial": "dead letter",
    "burials": "dead deliveries",
    "buried": "dead-lettered",
    "buries": "dead-letters",
    "bury": "dead-letter",
    "burying": "dead-lettering",
    "courier": "delivery executor",
    "errand": "assignment",
    "grave": "dead delivery",
    "graves": "dead deliveries",
    "heritage": "migration",
    "mend": "repair_heads",
    "wish": "replay request",
    "wishes": "replay requests",
    # model and store
    "landmark": "last applied",
    "relieve": "checkpoint_if_needed",
    "tally": "counters",
    # app, test kit and simulation
    "agenda": "schedule",
    "dawdle": "slow",
    "guests": "extra children",
    "overheard": "received",
}

PERSISTED: dict[str, frozenset[str]] = {
    # names of consumer groups, of published values and of older files: they cannot change
    "airy/topics.py": frozenset({"unpark"}),
    "airy/actors/delivery.py": frozenset({"buried"}),
    "airy/model/delivery_attempt.py": frozenset({"buried"}),
    "airy/queue/sqlite/migration.py": frozenset({"buried", "grave"}),
    "tests/actors/test_parked_replayer.py": frozenset({"unpark"}),
    "tests/queue/sqlite/test_queue.py": frozenset({"buried", "grave", "graves"}),
    "tests/sim/cluster.py": frozenset({"unpark"}),
    "tests/tui/test_status.py": frozenset({"unpark"}),
}

CLASSES: dict[str, str] = {
    "AnotherLog": "QueueLogCheck",
    "Announcer": "HeartbeatPublisher",
    "Composition": "InProcessAiry",
    "Draft": "PendingAppend",
    "Durable": "JournaledStorage",
    "Ear": "ArrivalListener",
    "Emit": "ProducerRecord",
    "Fetch": "HttpClient",
    "Heart": "ProgressMark",
    "House": "Harness",
    "Kept": "SharedClient",
    "Lanes": "SendLimiter",
    "Moment": "Timeline",
    "NotSent": "ConnectFailed",
    "Ownership": "RebalanceListener",
    "Parts": "Services",
    "Reach": "EgressPolicy",
    "Roll": "ProcessRegistry",
    "Room": "InFlightLimit",
    "SharedPublish": "publish_batcher",
    "Stage": "RunningTree",
    "Together": "BatchRefused",
    "Truncated": "OffsetOutOfRange",
    "Unanswered": "ResponseLost",
    "Unconfirmed": "WriteUnconfirmed",
    "Volatile": "MemoryStorage",
}
