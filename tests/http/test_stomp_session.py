"""The STOMP session as a table: negotiation, each command in each phase, receipts, errors with their codes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airy.http.stomp.frame import Frame
from airy.http.stomp.session import (
    Authenticate,
    Close,
    Effects,
    Phase,
    Send,
    SessionSettings,
    StompSession,
    Subscribe,
    Unsubscribe,
)

SETTINGS = SessionSettings(destinations=("/events",), subscriptions_max=2)
COMMANDS = ["CONNECT", "STOMP", "SUBSCRIBE", "UNSUBSCRIBE", "SEND", "ACK", "NACK", "BEGIN", "COMMIT", "DISCONNECT", "X"]


def connected(version: str = "1.2", heart_beat: str = "0,0") -> StompSession:
    session = StompSession(SETTINGS)
    session.on_frame(Frame("CONNECT", {"accept-version": version, "heart-beat": heart_beat}))
    session.on_authenticated(accepted=True)
    assert session.phase is Phase.CONNECTED
    return session


def error_of(effects: Effects) -> str:
    """The message of the ERROR that must be followed by a close with 1002."""
    sent, closed = effects
    assert isinstance(sent, Send)
    assert isinstance(closed, Close)
    assert (sent.frame.command, closed.code) == ("ERROR", 1002)
    return sent.frame.headers["message"]


@pytest.mark.parametrize(
    ("accepted", "version"), [(None, "1.0"), ("1.0,1.1,1.2", "1.2"), ("1.1,1.0", "1.1"), ("1.3, 1.2", "1.2")]
)
def test_the_highest_common_version_is_agreed_on(accepted: str | None, version: str) -> None:
    session = StompSession(SETTINGS)

    effects = session.on_frame(Frame("CONNECT", {} if accepted is None else {"accept-version": accepted}))

    assert effects == [Authenticate(None)]
    (connected_frame,) = session.on_authenticated(accepted=True)
    assert isinstance(connected_frame, Send)
    assert connected_frame.frame.headers["version"] == version


def test_without_a_common_version_the_error_lists_those_of_the_server() -> None:
    session = StompSession(SETTINGS)

    effects = session.on_frame(Frame("CONNECT", {"accept-version": "2.0"}))

    assert error_of(effects).startswith("400 ")
    assert isinstance(effects[0], Send)
    assert effects[0].frame.headers["version"] == "1.0,1.1,1.2"


@pytest.mark.parametrize(
    ("client", "agreed"), [("0,0", (0, 0)), ("10000,10000", (30_000, 30_000)), ("4000,40000", (40_000, 30_000))]
)
def test_each_direction_beats_at_the_slower_of_the_two_offers(client: str, agreed: tuple[int, int]) -> None:
    session = connected(heart_beat=client)

    assert (session.send_every_ms, session.receive_every_ms) == agreed


@pytest.mark.parametrize("text", ["", "1", "1,2,3", "a,b", "-1,0", "99999999999,0"])
def test_a_malformed_heart_beat_is_an_error(text: str) -> None:
    assert error_of(StompSession(SETTINGS).on_frame(Frame("CONNECT", {"heart-beat": text}))).startswith("400 ")


def test_the_credential_of_connect_is_to_be_checked_and_a_refusal_is_a_401() -> None:
    session = StompSession(SETTINGS)

    assert session.on_frame(Frame("CONNECT", {"authorization": "Bearer t"})) == [Authenticate("Bearer t")]
    assert error_of(session.on_authenticated(accepted=False)).startswith("401 ")
    assert session.on_frame(Frame("SUBSCRIBE")) == []


@pytest.mark.parametrize("command", ["SUBSCRIBE", "SEND", "DISCONNECT", "X"])
def test_any_other_frame_before_connect_is_a_401(command: str) -> None:
    assert error_of(StompSession(SETTINGS).on_frame(Frame(command))).startswith("401 ")


RECEIPT = Send(Frame("RECEIPT", {"receipt-id": "r1"}))
SUBSCRIBED = Frame("SUBSCRIBE", {"id": "s", "destination": "/events", "receipt": "r1"})


def test_subscriptions_begin_and_end_with_their_id_and_a_receipt() -> None:
    session = connected()

    assert session.on_frame(SUBSCRIBED) == [Subscribe("s", "/events"), RECEIPT]
    assert session.subscriptions == {"s": "/events"}
    assert session.on_frame(Frame("UNSUBSCRIBE", {"id": "s", "receipt": "r1"})) == [Unsubscribe("s"), RECEIPT]
    assert session.subscriptions == {}


def test_the_end_of_a_subscription_that_there_is_not_has_no_effect() -> None:
    session = connected()
    session.on_frame(SUBSCRIBED)

    assert session.on_frame(Frame("UNSUBSCRIBE", {"id": "another", "receipt": "r1"})) == [RECEIPT]
    assert session.subscriptions == {"s": "/events"}


def test_in_version_1_0_the_destination_may_stand_for_the_id() -> None:
    session = connected("1.0")

    assert session.on_frame(Frame("SUBSCRIBE", {"destination": "/events"})) == [Subscribe("/events", "/events")]
    assert session.on_frame(Frame("UNSUBSCRIBE", {"destination": "/events"})) == [Unsubscribe("/events")]


@pytest.mark.parametrize(
    ("frame", "status"),
    [
        (Frame("SUBSCRIBE", {"id": "s"}), 400),
        (Frame("SUBSCRIBE", {"destination": "/events"}), 400),
        (Frame("SUBSCRIBE", {"id": "s", "destination": "/queue"}), 404),
        (Frame("UNSUBSCRIBE", {"destination": "/events"}), 400),
        (Frame("SEND", {"destination": "/events"}, b"{}"), 403),
        (Frame("CONNECT"), 400),
        (Frame("MESSAGE"), 400),
    ],
)
def test_what_a_session_refuses_ends_it_with_a_code(frame: Frame, status: int) -> None:
    effects = connected().on_frame(Frame(frame.command, {**frame.headers, "receipt": "r1"}, frame.body))

    assert error_of(effects).startswith(f"{status} ")
    assert isinstance(effects[0], Send)
    assert effects[0].frame.headers["receipt-id"] == "r1"


def test_repeated_and_too_many_subscriptions_are_errors() -> None:
    repeated, many = connected(), connected()
    repeated.on_frame(SUBSCRIBED)
    for name in ("a", "b"):
        many.on_frame(Frame("SUBSCRIBE", {"id": name, "destination": "/events"}))

    assert error_of(repeated.on_frame(SUBSCRIBED)).startswith("400 ")
    assert error_of(many.on_frame(SUBSCRIBED)).startswith("429 ")


def test_disconnect_is_acknowledged_before_the_close() -> None:
    session = connected()

    assert session.on_frame(Frame("DISCONNECT", {"receipt": "r1"})) == [RECEIPT, Close(1000)]
    assert session.phase is Phase.CLOSED


@pytest.mark.parametrize("command", ["ACK", "NACK", "BEGIN", "COMMIT", "ABORT"])
def test_acknowledgements_and_transactions_have_no_effect_but_a_receipt(command: str) -> None:
    assert connected().on_frame(Frame(command, {"receipt": "r1"})) == [RECEIPT]
    assert connected().on_frame(Frame(command)) == []


headers = st.dictionaries(
    st.sampled_from(["id", "destination", "receipt", "accept-version", "heart-beat", "authorization"]),
    st.sampled_from(["a", "b", "c", "/events", "1.1", "1.2", "5,5"]),
)


@given(st.lists(st.builds(Frame, st.sampled_from(COMMANDS), headers), max_size=12), st.booleans())
def test_any_frames_keep_the_session_consistent(given_frames: list[Frame], accepted: bool) -> None:
    """An ERROR is the last thing sent; subscriptions are bounded; a closed session answers nothing."""
    session, errors = StompSession(SETTINGS), 0
    for frame in given_frames:
        was_closed = session.phase is Phase.CLOSED
        effects = session.on_frame(frame)
        if session.phase is Phase.AUTHENTICATING:
            effects += session.on_authenticated(accepted=accepted)
        errors += sum(isinstance(each, Send) and each.frame.command == "ERROR" for each in effects)

        assert not (was_closed and effects)
        assert (session.phase is Phase.CLOSED) == (was_closed or any(isinstance(each, Close) for each in effects))
        assert len(session.subscriptions) <= SETTINGS.subscriptions_max
    assert errors <= 1
