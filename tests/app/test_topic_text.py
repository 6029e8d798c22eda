"""The text, JSON and kafka-acls output of plans, topics and ACLs."""

from airy import acls, topics
from airy.acls import Acl
from airy.app import topic_text as text
from airy.bus.provision import ConfigChange, DesiredTopic, ManualChange, TopicPlan
from airy.sources import catalogue

NEW = DesiredTopic(name="p.events", partitions=16, replication=1, config={}, retention="for ever")
PLAN = TopicPlan(
    create=(NEW,),
    alter=(
        ConfigChange(name="p.tags", key="min.insync.replicas", actual="1", desired="2"),
        ConfigChange(name="p.tags", key="retention.ms", actual="", desired="-1"),
    ),
    refuse=(
        ManualChange(name="p.users", difference="has 1 partition, must have 4", remedy="do this"),
        ManualChange(name="p.tags", difference="has 9 replicas, must have 3", remedy="do that"),
    ),
    unchanged=("p.webhooks", "p.channels"),
    unknown=("p.old",),
)


def test_a_plan_is_a_diff_in_columns() -> None:
    assert text.plan_lines(PLAN) == [
        "+  p.events  create   16 partitions        1 replica  kept: for ever",
        "~  p.tags    alter    min.insync.replicas  1 → 2",
        "~  p.tags    alter    retention.ms         - → -1",
        "!  p.users   refuse   has 1 partition, must have 4",
        "   → do this",
        "!  p.tags    refuse   has 9 replicas, must have 3",
        "   → do that",
        "?  p.old     unknown  not a topic of this version: left alone",
        "=  2 right, 1 to create, 1 to alter, 2 refused",
    ]


def test_the_first_character_of_a_line_decides_its_colour() -> None:
    assert [text.coloured(line) for line in ("+  new", "   more")] == ["\x1b[32m+  new\x1b[0m", "   more"]


WRITERS = ["api-communication", "api-admin", "media-resolver", *(f"sources-{spec.name}" for spec in catalogue.SOURCES)]


def test_the_list_has_a_line_for_every_topic() -> None:
    rows = text.topic_rows(topics.ALL)

    assert len(rows) == len(topics.ALL)
    assert rows[0] == {
        "name": topics.EVENTS.name,
        "key": "conversation id",
        "partitions": 16,
        "retention": "for ever",
        "writers": WRITERS,
        "readers": list(acls.ACTORS),
    }


LISTS = [
    Acl("User:a", "topic", "p.events", "Read"),
    Acl("User:a", "topic", "p.events", "Describe"),
    Acl("User:a b", "group", "p.router", "Read"),
]


def test_an_acl_table_has_one_line_per_principal_and_resource() -> None:
    assert text.acl_lines(LISTS) == [
        "PRINCIPAL  RESOURCE  NAME      ALLOWED",
        "User:a     topic     p.events  Read, Describe",
        "User:a b   group     p.router  Read",
    ]


def test_acls_are_formatted_as_kafka_acls_commands() -> None:
    tool = "kafka-acls.sh --bootstrap-server one:1,two:2 --add --allow-principal"

    assert text.acl_commands(LISTS, ["one:1", "two:2"]) == [
        f"{tool} User:a --operation Read --operation Describe --topic p.events",
        f"{tool} 'User:a b' --operation Read --group p.router",
    ]
