"""The transition table of delivery states is complete and forward only."""

from airy.model.delivery_state import (
    API_STATE,
    DETAILED_STATE,
    IN_FLIGHT_STATES,
    REPORT_STRENGTH,
    TRANSITIONS,
    DeliveryState,
    may_transition,
)


def test_every_state_is_in_every_table() -> None:
    assert set(TRANSITIONS) == set(API_STATE) == set(DETAILED_STATE) == set(DeliveryState)


def test_no_state_transitions_to_itself() -> None:
    assert not any(may_transition(state, state) for state in DeliveryState)


def test_only_a_failure_leads_back() -> None:
    """Pending is entered from states with a recorded failure, and sending from pending only."""
    before = {to: {state for state in DeliveryState if may_transition(state, to)} for to in DeliveryState}
    assert before[DeliveryState.SENDING] == {DeliveryState.PENDING}
    assert before[DeliveryState.UNKNOWN] == {DeliveryState.SENDING}
    assert DeliveryState.SENT not in before[DeliveryState.PENDING]
    assert before[DeliveryState.SENT] == {
        DeliveryState.PENDING,
        DeliveryState.SENDING,
        DeliveryState.UNKNOWN,
        DeliveryState.FAILED,
    }


def test_the_api_has_three_states() -> None:
    assert {state: API_STATE[state] for state in IN_FLIGHT_STATES} == dict.fromkeys(IN_FLIGHT_STATES, "pending")
    assert {state for state in DeliveryState if API_STATE[state] == "failed"} == {DeliveryState.FAILED}
    assert {state for state in DeliveryState if API_STATE[state] == "delivered"} == {
        DeliveryState.SENT,
        DeliveryState.DELIVERED,
        DeliveryState.READ,
    }


def test_a_failure_outweighs_sent_and_is_outweighed_by_delivered() -> None:
    strength = [
        REPORT_STRENGTH[state]
        for state in (None, DeliveryState.SENT, DeliveryState.FAILED, DeliveryState.DELIVERED, DeliveryState.READ)
    ]
    assert strength == sorted(set(strength))
