"""W3C trace context: parsing, derivation, propagation."""

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as some

from airy import trace
from airy.trace import KNOWN_FLAGS, NO_SPAN, NO_TRACE, Trace, from_request, new_trace, parse

TRACE_ID = "4bf92f3577b34da6a3ce929d0e0e4736"
SPAN_ID = "00f067aa0ba902b7"
GIVEN = f"00-{TRACE_ID}-{SPAN_ID}-01"


def hexadecimal(length: int) -> some.SearchStrategy[str]:
    return some.text("0123456789abcdef", min_size=length, max_size=length).filter(lambda text: set(text) != {"0"})


@given(hexadecimal(32), hexadecimal(16), some.integers(0, KNOWN_FLAGS))
def test_a_trace_header_round_trips(trace_id: str, span_id: str, flags: int) -> None:
    made = Trace(trace_id, span_id, flags)

    assert parse(made.header) == made


@pytest.mark.parametrize(
    "text",
    [
        "",
        "00",
        GIVEN.upper(),
        GIVEN[:-1],
        f"{GIVEN}0",
        f"{GIVEN}-",
        f"{GIVEN}-more",  # version 00 has four parts
        f" {GIVEN}",
        f"{GIVEN}\n",
        f"ff-{TRACE_ID}-{SPAN_ID}-01",
        f"00-{NO_TRACE}-{SPAN_ID}-01",
        f"00-{TRACE_ID}-{NO_SPAN}-01",
        f"00-{TRACE_ID[:-1]}g-{SPAN_ID}-01",
        f"00_{TRACE_ID}_{SPAN_ID}_01",
        f"00-{TRACE_ID}-{SPAN_ID}-0x",
        f"01-{TRACE_ID}-{SPAN_ID}-01more",
        f"00-{'٤' * 32}-{SPAN_ID}-01",  # digits, but not hexadecimal ones
    ],
)
def test_an_invalid_header_is_no_trace(text: str) -> None:
    assert parse(text) is None


def test_a_later_version_is_parsed_and_propagated_as_version_00() -> None:
    for later in (f"01-{TRACE_ID}-{SPAN_ID}-ff", f"cc-{TRACE_ID}-{SPAN_ID}-ff-what-comes-next"):
        read = parse(later)

        assert read == Trace(TRACE_ID, SPAN_ID, KNOWN_FLAGS)
        assert read.header == f"00-{TRACE_ID}-{SPAN_ID}-03"


def test_a_child_keeps_the_trace_id_and_derives_its_span_from_the_name() -> None:
    parent = Trace(TRACE_ID, SPAN_ID, 1)
    one, again, two = parent.child("a:1"), parent.child("a:1"), parent.child("a:2")

    assert (one.trace_id, one.flags) == (TRACE_ID, 1)
    assert one == again
    assert len({parent.span_id, one.span_id, two.span_id}) == 3
    assert parse(one.header) == one


def test_a_trace_continues_only_from_exactly_one_header() -> None:
    assert from_request([GIVEN.encode()], "r").trace_id == TRACE_ID
    for given_ in ([], [b"\xff"], [GIVEN.encode(), GIVEN.encode()]):
        fresh = from_request(given_, "r")
        assert fresh == new_trace("r")
        assert parse(fresh.header) == fresh
    assert new_trace("r").trace_id != new_trace("s").trace_id


def test_records_in_an_attached_trace_carry_its_header() -> None:
    assert trace.headers() == ()
    with trace.attach(GIVEN):
        assert trace.headers() == (("traceparent", GIVEN.encode()),)
        with trace.attach(""):
            assert trace.headers() == ()
        assert trace.current() == GIVEN
    assert trace.current() == ""


async def test_tasks_at_the_same_time_keep_their_traces_apart() -> None:
    seen: dict[str, str] = {}

    async def work(name: str) -> None:
        with trace.attach(new_trace(name).header):
            await anyio.sleep(1)
            seen[name] = trace.current()

    async with anyio.create_task_group() as tasks:
        for name in ("a", "b"):
            tasks.start_soon(work, name)

    assert seen == {name: new_trace(name).header for name in ("a", "b")}


def test_the_trace_id_of_an_invalid_header_is_empty() -> None:
    assert trace.trace_id_of(GIVEN) == TRACE_ID
    assert trace.trace_id_of("") == trace.trace_id_of("nonsense") == ""
