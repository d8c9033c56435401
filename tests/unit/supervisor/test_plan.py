"""Which queues a fetch asks."""

from __future__ import annotations

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from taskrunner.brokers.base import Delivery, Fetched, Take
from taskrunner.supervisor.plan import Planner


def shares(planner: Planner, room: int, fetches: int) -> Counter[str]:
    asked: Counter[str] = Counter()
    for _ in range(fetches):
        for take in planner.plan(lambda _: room):
            asked[take.queue] += take.limit
    return asked


def test_weights_are_shares_of_a_batch() -> None:
    planner = Planner([("critical", 6), ("default", 3), ("low", 1)], strict=False)
    assert shares(planner, 100, 10) == {"critical": 600, "default": 300, "low": 100}


def test_single_job_fetches_come_out_in_proportion_too() -> None:
    planner = Planner([("critical", 6), ("default", 3), ("low", 1)], strict=False)
    asked = shares(planner, 1, 1000)
    assert sum(asked.values()) >= 1000
    assert 550 <= asked["critical"] <= 650
    assert 80 <= asked["low"] <= 120


@settings(max_examples=300)
@given(
    rooms=st.lists(st.dictionaries(st.sampled_from("abc"), st.integers(0, 3)), max_size=20),
    weights=st.tuples(*[st.integers(1, 3)] * 3),
)
def test_only_what_there_is_room_for_is_asked_for_and_never_less_than_one(
    rooms: list[dict[str, int]], weights: tuple[int, int, int]
) -> None:
    planner = Planner(list(zip("abc", weights, strict=True)), strict=False)
    for room in rooms:
        for take in planner.plan(lambda queue, room=room: room.get(queue, 0)):  # type: ignore[misc]
            assert take.limit >= 1
            assert room.get(take.queue, 0) > 0


def test_a_queue_that_was_asked_in_advance_is_not_asked_for_less_than_nothing() -> None:
    """Numbers of deliveries are counted on by what was asked for: less than nothing would use some
    of them twice."""
    planner = Planner([("a", 1), ("b", 1), ("c", 1)], strict=False)
    rooms = [{"a": 1, "b": 0, "c": 0}] * 6
    asked = [take for room in rooms for take in planner.plan(room.__getitem__)]
    assert {take.queue for take in asked} == {"a"}
    assert {take.limit for take in asked} == {1}
    assert shares(planner, 1, 300) == {"a": 100, "b": 100, "c": 100}


def test_strict_asks_the_next_only_when_the_first_has_nothing() -> None:
    planner = Planner([("low", 1), ("high", 5)], strict=True)
    assert planner.plan(lambda _: 4) == [Take("high", 4)]
    planner.learn([Take("high", 4)], Fetched([], {"high": 0}))
    assert planner.plan(lambda _: 4) == [Take("low", 4)]
    planner.believe("high")
    assert planner.plan(lambda _: 4) == [Take("high", 4)]


def test_an_empty_queue_is_not_asked_until_a_bell_rings() -> None:
    planner = Planner([("a", 1)], strict=False)
    planner.learn([Take("a", 3)], Fetched([], {"a": 0}))
    assert not planner.hopeful
    assert planner.plan(lambda _: 3) == []
    planner.believe("a")
    assert planner.plan(lambda _: 3) == [Take("a", 3)]


def test_without_room_nothing_is_asked() -> None:
    planner = Planner([("a", 1), ("b", 1)], strict=False)
    assert planner.plan(lambda _: 0) == []


def test_new_queues_are_served_once_each() -> None:
    planner = Planner([("a", 2)], strict=False)
    assert planner.add(["a", "b"]) == ["b"]
    assert planner.queues == ["a", "b"]


def test_a_queue_that_gave_its_limit_has_not_listed_us_as_idle_and_is_asked_again() -> None:
    planner = Planner([("a", 1)], strict=False)
    delivery = Delivery("a", "id", "node", 1, b"", 0, 0, 0, 0, None, None)
    planner.learn([Take("a", 1)], Fetched([delivery], {"a": 0}))
    assert planner.plan(lambda _: 1) == [Take("a", 1)]


def test_parked_jobs_are_asked_for_until_there_are_none() -> None:
    planner = Planner([("a", 1)], strict=False)
    planner.learn([Take("a", 1)], Fetched([], {"a": 0}))
    planner.found_parked("a", ["task:x"])
    (take,) = planner.plan(lambda _: 1)
    assert take == Take("a", 1, ("task:x",))
    delivery = Delivery("a", "id", "node", 1, b"", 0, 0, 0, 0, None, None)
    planner.learn([take], Fetched([delivery], {"a": 0}))
    (take,) = planner.plan(lambda _: 1)
    assert take.parked == ("task:x",)
    planner.learn([take], Fetched([], {"a": 0}))
    assert planner.plan(lambda _: 1) == []
    planner.believe("a")
    assert planner.plan(lambda _: 1) == [Take("a", 1)]
