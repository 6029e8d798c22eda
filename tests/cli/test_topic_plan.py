"""`airy topics list`, `airy topics plan` and `airy topics check`"""

import pytest

from airy import topics
from airy.app import topic_admin
from airy.bus.provision import ConfigChange, DesiredTopic, ManualChange, TopicPlan
from tests.kit.command_line import CommandLine

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
