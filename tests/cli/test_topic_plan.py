"""`airy topics list`, `plan`, `check`, `apply` and `acls`"""

from collections.abc import Callable

import pytest

from airy import topics
from airy.acls import Acl
from airy.app import topic_admin
from airy.app.topic_admin import TopicChange
from airy.bus.provision import ConfigChange, DesiredTopic, ManualChange, TopicPlan
from airy.errors import Refused
from tests.kit.command_line import CommandLine, matches_golden

NEW = DesiredTopic(name="new", partitions=4, replication=1, config={"cleanup.policy": "delete"}, retention="7 days")
ALTERED = ConfigChange(name="old", key="retention.ms", actual="1000", desired="-1")
WRONG = ManualChange(name="old", difference="4 partitions, not 16", remedy="move it")
DRIFT = TopicPlan(create=(NEW,), alter=(ALTERED,), refuse=(), unchanged=("right",))
REFUSED = TopicPlan(create=(), alter=(), refuse=(WRONG,), unchanged=())


def planned(monkeypatch: pytest.MonkeyPatch, plan: TopicPlan) -> None:
    async def given(_config: object) -> TopicPlan:
        return plan

    monkeypatch.setattr(topic_admin, "plan", given)


def test_declared_topics_are_listed_in_the_order_of_their_definition(airy: CommandLine) -> None:
    assert [each["name"] for each in airy.json("declared-topics", "topics", "list")] == [
        each.name for each in topics.ALL
    ]
    assert airy("topics", "list").out.splitlines()[1].endswith("every component")


@pytest.mark.parametrize(("plan", "of_plan", "of_check"), [(DRIFT, 2, 78), (REFUSED, 78, 78)])
def test_a_plan_has_an_exit_code_and_is_printed_in_each_format(
    airy: CommandLine, monkeypatch: pytest.MonkeyPatch, plan: TopicPlan, of_plan: int, of_check: int
) -> None:
    planned(monkeypatch, plan)

    shown = airy("topics", "plan")
    assert (shown.code, "old" in shown.out) == (of_plan, True)
    checked = airy("topics", "check")
    assert (checked.code, checked.out, "old" in checked.err) == (of_check, "", True)
    document = airy.valid("topic-plan", airy("topics", "plan", "--json").json)
    assert [each["name"] for each in (*document["alter"], *document["refuse"])] == ["old"]


def test_right_topics_are_no_change(airy: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    planned(monkeypatch, TopicPlan(create=(), alter=(), refuse=(), unchanged=("a", "b")))

    assert airy("topics", "check").out == "=  2 right\n"
    assert airy.json("topic-plan", "topics", "plan")["unchanged"] == ["a", "b"]


CHANGES = [
    TopicChange(name="p.events", result="created", partitions=16, settings={"cleanup.policy": "delete"}),
    TopicChange(name="p.tags", result="altered", settings={"min.insync.replicas": "2", "retention.ms": "-1"}),
]


def test_changes_of_topics_are_printed_also_those_before_an_error(
    airy: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def given(_config: object, on_change: Callable[[TopicChange], object]) -> TopicPlan:
        on_change(CHANGES[0])
        if failing:
            raise Refused("the topics still differ")
        on_change(CHANGES[1])
        return TopicPlan(create=(), alter=(), refuse=(), unchanged=("p.events", "p.tags"))

    monkeypatch.setattr(topic_admin, "apply", given)

    failing = False
    assert matches_golden("topics-apply", airy("topics", "apply", "--yes").out)
    assert len(airy.json("topic-changes", "topics", "apply", "--yes")) == 2
    failing = True
    stopped = airy("topics", "apply", "--yes", "--json")
    assert (stopped.code, len(stopped.json), "still differ" in stopped.err) == (78, 1, True)


LISTS = [
    Acl("User:airy-http", "topic", "p.events", "Read"),
    Acl("User:airy-http", "topic", "p.events", "Describe"),
    Acl("User:airy-http", "group", "p.router", "Read"),
]


def test_access_lists_are_grouped_for_people_and_single_for_programs(
    airy: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(topic_admin, "component_acls", lambda *_: LISTS)

    assert matches_golden("topics-acls", airy("topics", "acls", "http").out)
    assert [each["operation"] for each in airy.json("acls", "topics", "acls", "http")] == ["Read", "Describe", "Read"]
    assert airy("topics", "acls", "--commands", "--json").code == 64
