"""Plans of topic changes, without a cluster."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from airy import topics
from airy.bus.kafka.settings import KafkaSettings
from airy.bus.provision import (
    BATCH_BYTES,
    DAY_MS,
    ActualTopic,
    DesiredTopic,
    TopicPlan,
    desired_topics,
    owned_topics,
    plan_topics,
    retention,
)
from airy.bus.topic import Topic

SETTINGS = KafkaSettings(bootstrap=("localhost:1",), namespace="prod")
KEPT: Topic[bytes] = Topic("kept", bytes, partitions=4, retention="kept")
COMPACTED: Topic[bytes] = Topic("compacted", bytes, partitions=2, retention="compacted")
TIMED: Topic[bytes] = Topic("timed", bytes, partitions=3, retention="time", retention_ms=14 * DAY_MS)


def wanted(*given: Topic[bytes]) -> list[DesiredTopic]:
    return desired_topics(given, wire_name=SETTINGS.wire_name, replication=3, min_in_sync=2, record_bytes_max=1_000_000)


def as_desired(topic: DesiredTopic, **changed: str) -> ActualTopic:
    """A topic as declared, except for some settings (with _ for the dot)."""
    config = dict(topic.config) | {key.replace("_", "."): value for key, value in changed.items()}
    return ActualTopic(name=topic.name, partitions=topic.partitions, replication=topic.replication, config=config)


def test_names_are_wire_names() -> None:
    assert [topic.name for topic in wanted(KEPT, TIMED)] == ["prod.kept", "prod.timed"]


def test_a_kept_topic_is_never_deleted_by_age_or_size() -> None:
    config = wanted(KEPT)[0].config

    assert (config["cleanup.policy"], config["retention.ms"], config["retention.bytes"]) == ("delete", "-1", "-1")


def test_a_compacted_topic_keeps_tombstones_for_a_week_and_versions_for_a_while() -> None:
    config = wanted(COMPACTED)[0].config

    assert config["cleanup.policy"] == "compact"
    assert int(config["delete.retention.ms"]) >= 7 * DAY_MS
    assert int(config["min.compaction.lag.ms"]) > 0
    assert "retention.ms" not in config


def test_a_topic_deleted_by_time_is_deleted_by_nothing_else() -> None:
    config = wanted(TIMED)[0].config

    assert (config["cleanup.policy"], config["retention.bytes"]) == ("delete", "-1")
    assert config["retention.ms"] == str(14 * DAY_MS)


@pytest.mark.parametrize("topic", [KEPT, COMPACTED, TIMED])
def test_every_topic_prefers_consistency_over_availability(topic: Topic[bytes]) -> None:
    config = wanted(topic)[0].config

    assert config["min.insync.replicas"] == "2"
    assert config["unclean.leader.election.enable"] == "false"
    assert config["message.timestamp.type"] == "CreateTime"
    assert config["compression.type"] == "producer"


def test_a_topic_accepts_the_largest_record_a_producer_sends() -> None:
    assert int(wanted(KEPT)[0].config["max.message.bytes"]) == 1_000_000 + BATCH_BYTES


@pytest.mark.parametrize(
    ("topic", "words"), [(KEPT, "for ever"), (COMPACTED, "newest of each key"), (TIMED, "14 days")]
)
def test_retention_is_formatted(topic: Topic[bytes], words: str) -> None:
    assert retention(topic) == words


def test_an_empty_cluster_gets_all_topics() -> None:
    want = wanted(KEPT, COMPACTED)

    assert plan_topics(want, {}) == TopicPlan(create=tuple(want), alter=(), refuse=(), unchanged=())


def test_a_cluster_as_declared_needs_no_change() -> None:
    want = wanted(KEPT, COMPACTED, TIMED)

    plan = plan_topics(want, {topic.name: as_desired(topic) for topic in want})

    assert plan.empty
    assert plan.unchanged == ("prod.kept", "prod.compacted", "prod.timed")


def test_only_a_different_setting_is_altered() -> None:
    (want,) = wanted(KEPT)

    plan = plan_topics([want], {want.name: as_desired(want, min_insync_replicas="1")})

    assert [(each.key, each.actual, each.desired) for each in plan.alter] == [("min.insync.replicas", "1", "2")]
    assert (plan.create, plan.refuse, plan.unchanged) == ((), (), ())


def test_a_setting_the_cluster_does_not_report_is_altered() -> None:
    (want,) = wanted(KEPT)
    found = replace(as_desired(want), config={})

    assert {each.key for each in plan_topics([want], {want.name: found}).alter} == set(want.config)


@pytest.mark.parametrize("key", ["max.message.bytes", "delete.retention.ms", "min.compaction.lag.ms"])
def test_larger_values_of_some_settings_are_accepted(key: str) -> None:
    (want,) = wanted(COMPACTED)
    need = int(want.config[key])

    def found(value: int) -> dict[str, ActualTopic]:
        return {want.name: replace(as_desired(want), config={**want.config, key: str(value)})}

    assert plan_topics([want], found(need + 1)).empty
    assert not plan_topics([want], found(need - 1)).empty


def test_more_in_sync_replicas_than_configured_are_altered() -> None:
    """It would stop every write while one broker is down."""
    (want,) = wanted(KEPT)

    assert not plan_topics([want], {want.name: as_desired(want, min_insync_replicas="3")}).empty


@pytest.mark.parametrize(("partitions", "words"), [(1, "has 1 partition, must"), (8, "has 8 partitions, must have 4")])
def test_a_different_partition_count_is_refused_with_a_remedy(partitions: int, words: str) -> None:
    (want,) = wanted(KEPT)

    (refusal,) = plan_topics([want], {want.name: replace(as_desired(want), partitions=partitions)}).refuse

    assert words in refusal.difference
    assert "airy log export" in refusal.remedy


def test_a_different_replica_count_is_refused_with_a_remedy() -> None:
    (want,) = wanted(KEPT)

    (refusal,) = plan_topics([want], {want.name: replace(as_desired(want), replication=1)}).refuse

    assert refusal.difference == "has 1 replica, must have 3"
    assert "kafka-reassign-partitions" in refusal.remedy


def test_a_plan_has_refusals_and_alterations_of_one_topic() -> None:
    (want,) = wanted(KEPT)
    found = replace(as_desired(want, retention_ms="1"), partitions=1, replication=1)

    plan = plan_topics([want], {want.name: found})

    assert (len(plan.refuse), len(plan.alter), plan.unchanged) == (2, 1, ())


def test_an_undeclared_topic_is_reported_and_left_alone() -> None:
    (want,) = wanted(KEPT)

    plan = plan_topics([want], {want.name: as_desired(want)}, ["prod.old", "prod.kept"])

    assert plan.unknown == ("prod.old",)
    assert plan.empty


def test_in_a_namespace_all_its_topics_are_ours() -> None:
    names = ["prod.a", "production.a", "prod", "test.a", "__consumer_offsets"]

    assert owned_topics(names, topics.ALL, "prod") == ["prod.a"]


def test_without_a_namespace_topics_are_ours_by_the_first_part_of_their_name() -> None:
    names = ["dlq.old", "application.communication.old", "prod.application.communication.events", "__consumer_offsets"]

    assert owned_topics(names, topics.ALL, "") == ["dlq.old", "application.communication.old"]


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
def test_an_applied_plan_leaves_only_its_refusals(there: dict[str, tuple[int, int, dict[str, str]]]) -> None:
    """For any cluster: after creating and altering as planned, a second plan has only the refusals."""
    want = desired_topics(topics.ALL, wire_name=lambda name: name, replication=3, min_in_sync=2, record_bytes_max=1_000)
    found = {
        name: ActualTopic(name=name, partitions=partitions, replication=replication, config=config)
        for name, (partitions, replication, config) in there.items()
    }
    plan = plan_topics(want, found)

    after = {**found, **{topic.name: as_desired(topic) for topic in plan.create}}
    for each in plan.alter:
        after[each.name] = replace(after[each.name], config={**after[each.name].config, each.key: each.desired})

    assert plan_topics(want, after) == TopicPlan(
        create=(),
        alter=(),
        refuse=plan.refuse,
        unchanged=tuple(topic.name for topic in want if topic.name not in {each.name for each in plan.refuse}),
    )
    assert {topic.name for topic in plan.create} == {topic.name for topic in want} - set(there)


def test_a_topic_with_a_version_limit_gets_short_segments() -> None:
    """Kafka never compacts the active segment, which by default stays active for a week."""
    quick = Topic[bytes]("quick", bytes, partitions=1, retention="compacted", versions_ms=600_000)
    (want,) = desired_topics([quick], wire_name=lambda name: name, replication=3, min_in_sync=2, record_bytes_max=1_000)

    assert want.config["cleanup.policy"] == "compact"
    assert want.config["segment.ms"] == want.config["min.compaction.lag.ms"] == "600000"
    assert want.config["delete.retention.ms"] == "86400000"
    assert topics.COMPONENTS.versions_ms
