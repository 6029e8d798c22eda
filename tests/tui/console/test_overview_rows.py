"""Rates and figures of the overview follow from counters."""

from airy.tui.console.overview.rows import Process, ProcessComponent, Samples, component_states, figures


def test_a_counter_that_was_reset_gives_no_rate() -> None:
    samples = Samples()
    for at_s, value in ((0.0, 10.0), (1.0, 30.0), (2.0, 5.0), (4.0, 9.0)):
        samples.add(at_s, {"fold": value})
    assert samples.history == {"fold": [20.0, 2.0]}


def test_figures_sum_a_counter_over_its_labels() -> None:
    metrics = {'airy_responses_total{kind="2xx"}': 3.0, 'airy_responses_total{kind="4xx"}': 1.0}
    assert figures(metrics)["API"] == 4.0
    assert figures({'airy_ingress_total{kind="accepted_bytes"}': 9.0})["ingest"] == 0.0


def test_a_component_that_is_not_ready_says_where_and_why() -> None:
    fine = ProcessComponent(ready=True)
    down = ProcessComponent(ready=False)
    processes = [
        Process("a", ready=True, components={"webhook-consumer": fine, "api-admin": fine}),
        Process(
            "b",
            components={"webhook-consumer": down, "api-admin": down},
            waiting_for={"airy/webhook-consumer/dispatcher": "redis: connection refused"},
        ),
        Process("c", stale=True, components={"sources-viber": fine}),
    ]
    assert [(name, words) for name, _, _, words in component_states(processes)] == [
        ("api-admin", "1 of 2 ready: starting"),
        ("sources-viber", "0 of 1 ready: no heartbeat of c"),
        ("webhook-consumer", "1 of 2 ready: redis: connection refused"),
    ]
