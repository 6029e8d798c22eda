"""Buckets hold what took at most their bound, and nothing is lost above the last one."""

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from airy.histogram import LONG_S, SHORT_S, Histogram, Histograms, sum_of
from airy.http.metrics import LabelledHistograms, exposition

TOOK_S = st.one_of(st.sampled_from([0.0, *SHORT_S]), st.floats(0, 100))


@given(st.lists(TOOK_S, max_size=30))
def test_buckets_count_observations_up_to_each_bound(took_s: list[float]) -> None:
    histogram = Histogram(SHORT_S)
    for each in took_s:
        histogram.add(each)

    (family,) = text_string_to_metric_families(
        exposition({"publish_seconds": LabelledHistograms(("kind",), {("facts",): histogram})}).decode()
    )
    shown = {(sample.name.rpartition("_")[2], sample.labels.get("le")): sample.value for sample in family.samples}
    assert (family.type, family.name) == ("histogram", "airy_publish_seconds")
    assert {sample.labels["kind"] for sample in family.samples} == {"facts"}
    for bound in SHORT_S:
        assert shown["bucket", repr(bound)] == sum(each <= bound for each in took_s)
    assert shown["bucket", "+Inf"] == shown["count", None] == len(took_s)
    assert abs(shown["sum", None] - sum(took_s)) < 1e-6


def test_bounds_grow() -> None:
    assert list(SHORT_S) == sorted(set(SHORT_S))
    assert list(LONG_S) == sorted(set(LONG_S))
    assert (SHORT_S[0], SHORT_S[-1]) == (0.001, 30.0)


def test_histograms_of_several_topics_add_up() -> None:
    took = Histograms(SHORT_S)
    took.add({"a", "b"}, 0.00125)
    took.add({"b"}, 40.0)

    total = sum_of(took.values(), SHORT_S)
    assert {name: sum(each.counts) for name, each in took.items()} == {"a": 1, "b": 2}
    assert (total.counts[1], total.counts[-1], sum(total.counts), total.sum_s) == (2, 1, 3, 40.0025)
    assert sum(took["a"].counts) == 1, "what is summed up stays what it is"
