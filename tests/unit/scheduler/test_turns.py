"""Who goes first."""

from __future__ import annotations

from collections import Counter

from taskrunner.brokers.base import NodeInfo
from taskrunner.scheduler.turns import OTHERS_S, SECOND_S, TAKEN_OVER_S, THIRD_S, Turns
from taskrunner.testing.clock import FakeClock


def info(name: str, *queues: str, seen_ago: float = 0.0) -> NodeInfo:
    return NodeInfo(name, lease=15.0, queues=queues, seen_ago=seen_ago)


def turns_of(names: list[str], clock: FakeClock) -> list[Turns]:
    found = [Turns(me=lambda name=name: name, clock=clock) for name in names]  # type: ignore[misc]
    for one in found:
        one.learn([info(name, "q") for name in names])
    return found


def test_of_all_nodes_one_goes_first_one_second_and_one_third() -> None:
    names = [f"n{n}" for n in range(20)]
    for name in ("a", "b", "c"):
        waits = sorted(turn.patience(name) for turn in turns_of(names, FakeClock()))
        assert waits[:3] == [0.0, SECOND_S, THIRD_S]
        assert waits[3] > OTHERS_S
        assert len(set(waits)) == 20


def test_what_is_to_be_done_is_spread() -> None:
    fleet = turns_of([f"n{n}" for n in range(5)], FakeClock())
    first: Counter[int] = Counter()
    for name in (f"s{n}" for n in range(500)):
        first.update(at for at, turn in enumerate(fleet) if turn.patience(name) == 0)
    assert sum(first.values()) == 500
    assert min(first.values()) > 60


def test_whoever_sees_nobody_goes_first() -> None:
    assert Turns(me=lambda: "me", clock=FakeClock()).patience("a") == 0.0


def test_those_whose_lease_ran_out_do_not_count() -> None:
    (first, second) = turns_of(["n0", "n1"], FakeClock())
    late, other = (first, "n1") if first.patience("a") else (second, "n0")
    me = "n0" if other == "n1" else "n1"
    assert late.patience("a") == SECOND_S
    late.learn([info(me, "q"), info(other, "q", seen_ago=16.0)])
    assert late.patience("a") == 0.0


def test_nodes_that_serve_a_queue_come_before_others() -> None:
    clock = FakeClock()
    for name in (f"x{n}" for n in range(10)):
        one, other = (Turns(me=lambda n=n: n, clock=clock) for n in ("n0", "n1"))  # type: ignore[misc]
        for turn in (one, other):
            turn.learn([info("n0", "q"), info("n1", "r")])
        assert one.patience(name, "q") == 0.0
        assert other.patience(name, "q") >= OTHERS_S
        # Of a queue that nobody serves all are as good.
        assert sorted(turn.patience(name, "z") for turn in (one, other)) == [0.0, SECOND_S]


def test_whoever_finds_something_undone_goes_first_for_a_while() -> None:
    clock = FakeClock()
    late = next(turn for turn in turns_of(["n0", "n1"], clock) if turn.patience("a"))
    late.fell_behind("a")
    assert late.patience("a") == 0.0
    clock.advance(TAKEN_OVER_S + 1)
    assert late.patience("a") == SECOND_S


def test_a_node_that_goes_on_under_a_new_id_has_a_new_turn() -> None:
    name = ["n0"]
    turn = Turns(me=lambda: name[0], clock=FakeClock())
    turn.learn([info("n0"), info("n1")])
    waits = set()
    for n in range(30):
        name[0] = f"new{n}"
        waits.add(turn.patience("a"))
    assert len(waits) > 1
