"""The heap of due times."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from taskrunner.scheduler.heap import DueHeap


def test_the_earliest_time_of_a_name_counts() -> None:
    heap = DueHeap()
    heap.add("q", 5.0)
    heap.add("q", 3.0)
    heap.add("q", 9.0)
    assert (heap.first(), len(heap)) == (3.0, 1)
    assert heap.pop_due(2.9) == []
    assert heap.pop_due(3.0) == ["q"]
    assert heap.first() is None


@given(st.lists(st.tuples(st.sampled_from("abcd"), st.integers(0, 50))), st.integers(0, 50))
def test_it_agrees_with_a_dictionary(entries: list[tuple[str, int]], now: int) -> None:
    heap, model = DueHeap(), dict[str, float]()
    for name, at in entries:
        heap.add(name, float(at))
        model[name] = min(model.get(name, 99.0), float(at))
    assert heap.first() == min(model.values(), default=None)
    due = heap.pop_due(float(now))
    assert sorted(due) == sorted(name for name, at in model.items() if at <= now)
    assert len(heap) == len(model) - len(due)
