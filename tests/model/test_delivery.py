"""The delivery table says what it says, and says it completely."""

from airy.model.delivery import FINE, IN_FLIGHT, MOVES, STRENGTH, WIRE, Delivery, may_move


def test_every_state_is_in_every_table() -> None:
    assert set(MOVES) == set(WIRE) == set(FINE) == set(Delivery)


def test_no_state_moves_to_itself() -> None:
    assert not any(may_move(state, state) for state in Delivery)


def test_only_a_failure_leads_back() -> None:
    """Pending is entered where a failure can be recorded, and `sending` from pending only."""
    before = {to: {state for state in Delivery if may_move(state, to)} for to in Delivery}
    assert before[Delivery.SENDING] == {Delivery.PENDING}
    assert before[Delivery.UNKNOWN] == {Delivery.SENDING}
    assert Delivery.SENT not in before[Delivery.PENDING]
    assert before[Delivery.SENT] == {Delivery.PENDING, Delivery.SENDING, Delivery.UNKNOWN, Delivery.FAILED}


def test_clients_see_three_words() -> None:
    assert {state: WIRE[state] for state in IN_FLIGHT} == dict.fromkeys(IN_FLIGHT, "pending")
    assert {state for state in Delivery if WIRE[state] == "failed"} == {Delivery.FAILED}
    assert {state for state in Delivery if WIRE[state] == "delivered"} == {
        Delivery.SENT,
        Delivery.DELIVERED,
        Delivery.READ,
    }


def test_a_failure_outweighs_sent_and_is_outweighed_by_delivered() -> None:
    strength = [STRENGTH[state] for state in (None, Delivery.SENT, Delivery.FAILED, Delivery.DELIVERED, Delivery.READ)]
    assert strength == sorted(set(strength))
