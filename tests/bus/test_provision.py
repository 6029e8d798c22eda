"""What topics should be like and what a difference comes to, without a cluster."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from airy import topics
from airy.bus.kafka.settings import KafkaSettings
from airy.bus.provision import BATCH_BYTES, DAY_MS, Found, Plan, Wanted, desired, diff, ours, retention
from airy.bus.topic import Topic

SETTINGS = KafkaSettings(bootstrap=("localhost:1",), namespace="prod")
KEPT: Topic[bytes] = Topic("kept", bytes, partitions=4, retention="kept")
COMPACTED: Topic[bytes] = Topic("compacted", bytes, partitions=2, retention="compacted")
TIMED: Topic[bytes] = Topic("timed", bytes, partitions=3, retention="time", retention_ms=14 * DAY_MS)


def wanted(*given: Topic[bytes]) -> list[Wanted]:
    return desired(given, named=SETTINGS.named, replication=3, min_in_sync=2, record_bytes_max=1_000_000)


def as_wanted(topic: Wanted, **changed: str) -> Found:
    """Found as it should be, but for some settings (with _ for the dot)."""
    config = dict(topic.config) | {key.replace("_", "."): value for key, value in changed.items()}
    return Found(name=topic.name, partitions=topic.partitions, replication=topic.replication, config=config)


def test_names_are_those_of_the_wire() -> None:
    assert [topic.name for topic in wanted(KEPT, TIMED)] == ["prod.kept", "prod.timed"]


def test_what_is_kept_is_never_deleted_by_age_or_size() -> None:
    config = wanted(KEPT)[0].config

    assert (config["cleanup.policy"], config["retention.ms"], config["retention.bytes"]) == ("delete", "-1", "-1")


def test_what_is_compacted_keeps_tombstones_for_a_week_at_least_and_every_version_for_a_while() -> None:
    config = wanted(COMPACTED)[0].config

    assert config["cleanup.policy"] == "compact"
    assert int(config["delete.retention.ms"]) >= 7 * DAY_MS
    assert int(config["min.compaction.lag.ms"]) > 0
    assert "retention.ms" not in config


def test_what_goes_with_time_goes_with_nothing_else() -> None:
    config = wanted(TIMED)[0].config

    assert (config["cleanup.policy"], config["retention.bytes"]) == ("delete", "-1")
    assert config["retention.ms"] == str(14 * DAY_MS)


@pytest.mark.parametrize("topic", [KEPT, COMPACTED, TIMED])
def test_every_topic_prefers_waiting_to_losing(topic: Topic[bytes]) -> None:
    config = wanted(topic)[0].config

    assert config["min.insync.replicas"] == "2"
    assert config["unclean.leader.election.enable"] == "false"
    assert config["message.timestamp.type"] == "CreateTime"
    assert config["compression.type"] == "producer"


def test_a_topic_takes_the_largest_record_a_producer_lets_through() -> None:
    assert int(wanted(KEPT)[0].config["max.message.bytes"]) == 1_000_000 + BATCH_BYTES


@pytest.mark.parametrize(
    ("topic", "words"), [(KEPT, "for ever"), (COMPACTED, "newest of each key"), (TIMED, "14 days")]
)
def test_retention_has_words(topic: Topic[bytes], words: str) -> None:
    assert retention(topic) == words


def test_an_empty_cluster_gets_everything() -> None:
    want = wanted(KEPT, COMPACTED)

    assert diff(want, {}) == Plan(create=tuple(want), alter=(), refuse=(), right=())


def test_a_cluster_as_it_should_be_gets_nothing() -> None:
    want = wanted(KEPT, COMPACTED, TIMED)

    plan = diff(want, {topic.name: as_wanted(topic) for topic in want})

    assert plan.empty
    assert plan.right == ("prod.kept", "prod.compacted", "prod.timed")


def test_a_setting_that_differs_is_altered_and_no_other() -> None:
    (want,) = wanted(KEPT)

    plan = diff([want], {want.name: as_wanted(want, min_insync_replicas="1")})

    assert [(each.key, each.found, each.wanted) for each in plan.alter] == [("min.insync.replicas", "1", "2")]
    assert (plan.create, plan.refuse, plan.right) == ((), (), ())


def test_a_setting_the_cluster_does_not_tell_is_altered() -> None:
    (want,) = wanted(KEPT)
    found = replace(as_wanted(want), config={})

    assert {each.key for each in diff([want], {want.name: found}).alter} == set(want.config)


@pytest.mark.parametrize("key", ["max.message.bytes", "delete.retention.ms", "min.compaction.lag.ms"])
def test_more_than_needed_of_some_settings_is_right(key: str) -> None:
    (want,) = wanted(COMPACTED)
    need = int(want.config[key])

    def found(value: int) -> dict[str, Found]:
        return {want.name: replace(as_wanted(want), config={**want.config, key: str(value)})}

    assert diff([want], found(need + 1)).empty
    assert not diff([want], found(need - 1)).empty


def test_more_in_sync_than_configured_is_not_right() -> None:
    """It would stop every write while one broker is away."""
    (want,) = wanted(KEPT)

    assert not diff([want], {want.name: as_wanted(want, min_insync_replicas="3")}).empty


@pytest.mark.parametrize(("partitions", "words"), [(1, "has 1 partition, must"), (8, "has 8 partitions, must have 4")])
def test_a_partition_count_is_refused_with_what_to_do(partitions: int, words: str) -> None:
    (want,) = wanted(KEPT)

    (refusal,) = diff([want], {want.name: replace(as_wanted(want), partitions=partitions)}).refuse

    assert words in refusal.what
    assert "airy log export" in refusal.todo


def test_a_replica_count_is_refused_with_what_to_do() -> None:
    (want,) = wanted(KEPT)

    (refusal,) = diff([want], {want.name: replace(as_wanted(want), replication=1)}).refuse

    assert refusal.what == "has 1 replica, must have 3"
    assert "kafka-reassign-partitions" in refusal.todo


def test_what_is_refused_is_shown_with_what_could_be_altered() -> None:
    (want,) = wanted(KEPT)
    found = replace(as_wanted(want, retention_ms="1"), partitions=1, replication=1)

    plan = diff([want], {want.name: found})

    assert (len(plan.refuse), len(plan.alter), plan.right) == (2, 1, ())


def test_what_nobody_knows_is_told_and_nothing_is_planned_for_it() -> None:
    (want,) = wanted(KEPT)

    plan = diff([want], {want.name: as_wanted(want)}, ["prod.old", "prod.kept"])

    assert plan.unknown == ("prod.old",)
    assert plan.empty


def test_in_a_namespace_ours_is_what_is_in_it() -> None:
    names = ["prod.a", "production.a", "prod", "test.a", "__consumer_offsets"]

    assert ours(names, topics.ALL, "prod") == ["prod.a"]


def test_without_a_namespace_ours_is_what_looks_like_ours() -> None:
    names = ["dlq.old", "application.communication.old", "prod.application.communication.events", "__consumer_offsets"]

    assert ours(names, topics.ALL, "") == ["dlq.old", "application.communication.old"]


@given(
    st.dictionaries(
        st.sampled_from([topic.name for topic in topics.ALL]),
        st.tuples(
            st.sampled_from([1, 4, 16]),
            st.sampled_from([1, 3]),
            st.dictionaries(st.sampled_from(["retention.ms", "cleanup.policy"]), st.sampled_from(["-1", "compact"])),
        ),
    )
)
def test_what_is_applied_leaves_only_what_was_refused(there: dict[str, tuple[int, int, dict[str, str]]]) -> None:
    """Of any cluster: create and alter as planned, look again, and nothing but the refusals is left."""
    want = desired(topics.ALL, named=lambda name: name, replication=3, min_in_sync=2, record_bytes_max=1_000)
    found = {
        name: Found(name=name, partitions=partitions, replication=replication, config=config)
        for name, (partitions, replication, config) in there.items()
    }
    plan = diff(want, found)

    after = {**found, **{topic.name: as_wanted(topic) for topic in plan.create}}
    for each in plan.alter:
        after[each.name] = replace(after[each.name], config={**after[each.name].config, each.key: each.wanted})

    assert diff(want, after) == Plan(
        create=(),
        alter=(),
        refuse=plan.refuse,
        right=tuple(topic.name for topic in want if topic.name not in {each.name for each in plan.refuse}),
    )
    assert {topic.name for topic in plan.create} == {topic.name for topic in want} - set(there)


def test_a_topic_whose_keys_change_all_the_time_is_compacted_soon() -> None:
    """Kafka never compacts the segment that is written to, and keeps that for a week unless told."""
    quick = Topic[bytes]("quick", bytes, partitions=1, retention="compacted", versions_ms=600_000)
    (want,) = desired([quick], named=lambda name: name, replication=3, min_in_sync=2, record_bytes_max=1_000)

    assert want.config["cleanup.policy"] == "compact"
    assert want.config["segment.ms"] == want.config["min.compaction.lag.ms"] == "600000"
    assert want.config["delete.retention.ms"] == "86400000"
    assert topics.COMPONENTS.versions_ms
