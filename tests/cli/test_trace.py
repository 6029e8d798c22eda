"""`airy trace`"""

from tests.kit import fake_traces
from tests.kit.command_line import CommandLine, matches_golden


def test_a_message_is_traced_by_any_id_as_a_table_and_as_json(airy: CommandLine) -> None:
    airy.instance.operations.traces = {"m_71": fake_traces.sent()}
    shown = airy("trace", "m_71")
    assert matches_golden("trace", shown.out)
    assert shown.err == "message m-3-1 of conversation c-3\n"
    hops = airy.json("trace", "trace", "m_71", "--source", "facebook")
    assert [hop["kind"] for hop in hops][:2] == ["message.queued", "fold"]
    assert airy("trace", "nothing").code != 0
