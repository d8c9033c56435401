"""The data structures of the memory broker, each beside what it stands for."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskrunner.brokers._memory_indexes import Leases, ReadyLists, TimeIndex
from taskrunner.brokers._memory_job import Job
from taskrunner.states import State


def make_job(name: str, priority: int = 5) -> Job:
    return Job("q", name, State.PENDING, b"", priority, created_at=0.0)


class TestTimeIndex:
    def test_soonest_first_and_equals_in_order_of_arrival(self) -> None:
        index = TimeIndex()
        for job_id, at in (("c", 3.0), ("a", 1.0), ("b", 3.0), ("d", 2.0)):
            index.add(job_id, at)
        assert index.soonest() == 1.0
        assert index.pop_until(3.0, 10) == ["a", "d", "c", "b"]
        assert (len(index), index.soonest()) == (0, None)

    def test_adding_again_moves(self) -> None:
        index = TimeIndex()
        index.add("a", 1.0)
        index.add("b", 2.0)
        index.add("a", 3.0)
        assert len(index) == 2
        assert index.pop(5) == ["b", "a"]

    def test_a_moment_is_included_and_the_limit_kept(self) -> None:
        index = TimeIndex()
        for n in range(5):
            index.add(f"job-{n}", float(n))
        assert index.times_until(2.0, 10) == [0.0, 1.0, 2.0]
        assert index.times_until(2.0, 2) == [0.0, 1.0]
        assert index.pop_until(3.0, 2) == ["job-0", "job-1"]
        assert index.pop_until(-1.0, 2) == index.pop(-3) == []

    def test_what_is_not_there_can_be_discarded(self) -> None:
        index = TimeIndex()
        index.add("a", 1.0)
        index.discard("b")
        index.discard("a")
        index.discard("a")
        assert index.pop(1) == []

    @given(st.lists(st.tuples(st.integers(0, 5), st.one_of(st.none(), st.integers(0, 9)))))
    def test_equals_a_sorted_dict(self, steps: list[tuple[int, int | None]]) -> None:
        index, expected = TimeIndex(), dict[str, tuple[int, int]]()
        for order, (n, at) in enumerate(steps):
            if at is None:
                index.discard(str(n))
                expected.pop(str(n), None)
            else:
                index.add(str(n), at)
                expected[str(n)] = (at, order)
        assert index.pop(len(index)) == sorted(expected, key=lambda job_id: expected[job_id])


class TestReadyLists:
    def test_urgent_first_then_in_order_with_the_given_back_at_the_head(self) -> None:
        ready = ReadyLists()
        for name, priority in (("a", 5), ("b", 9), ("c", 5)):
            ready.add(make_job(name, priority))
        ready.add(make_job("d", 5), head=True)
        popped = [ready.pop() for _ in range(5)]
        assert [job and job.id for job in popped] == ["b", "d", "a", "c", None]

    def test_what_left_is_not_met_and_not_counted(self) -> None:
        ready = ReadyLists()
        a, b = make_job("a"), make_job("b")
        ready.add(a)
        ready.add(b)
        ready.leave(a)
        assert ready.counts[5] == 1
        assert ready.pop() is b

    def test_what_left_and_came_back_has_a_new_place(self) -> None:
        ready = ReadyLists()
        a, b = make_job("a"), make_job("b")
        ready.add(a)
        ready.add(b)
        ready.leave(a)
        ready.add(a)
        assert [ready.pop(), ready.pop(), ready.pop()] == [b, a, None]

    @given(st.lists(st.booleans(), max_size=40), st.integers(1, 7))
    def test_sweeping_drops_the_dead_and_keeps_the_order(
        self, leaving: list[bool], limit: int
    ) -> None:
        ready = ReadyLists()
        jobs = [make_job(str(n)) for n in range(len(leaving))]
        for job in jobs:
            ready.add(job)
        for job, leaves in zip(jobs, leaving, strict=True):
            if leaves:
                ready.leave(job)
        sweeps = 0
        while ready.sweep(limit):
            sweeps += 1
            assert sweeps <= 2 * len(jobs) + 1
        assert len(ready._lists[5]) == ready.counts[5] == leaving.count(False)
        left = [ready.pop() for _ in range(leaving.count(False))]
        assert left == [job for job, leaves in zip(jobs, leaving, strict=True) if not leaves]


class TestLeases:
    def test_a_silent_node_lapses_while_others_beat(self) -> None:
        leases = Leases()
        leases.beat("silent", 10.0, 0.0)
        for now in (0.0, 5.0, 9.0):
            leases.beat("alive", 10.0, now)
        assert leases.lapsed(9.9) == []
        assert leases.lapsed(10.0) == ["silent"]

    @pytest.mark.parametrize("step", [10.1, 1e6, -0.1, -1e6])
    def test_after_a_gap_or_a_step_everybody_has_a_new_lease(self, step: float) -> None:
        leases = Leases()
        leases.beat("silent", 10.0, 0.0)
        leases.beat("alive", 10.0, step)
        assert {lease.ends for lease in leases.of.values()} == {step + 10.0}
        leases.beat("alive", 10.0, step + 9.0)
        assert leases.lapsed(step + 9.9) == []
        assert leases.lapsed(step + 10.0) == ["silent"]

    def test_silence_is_noticed_by_who_looks_too(self) -> None:
        leases = Leases()
        leases.beat("a", 10.0, 0.0)
        leases.beat("b", 10.0, 0.0)
        assert leases.lapsed(100.0) == []
        leases.beat("b", 10.0, 101.0)
        assert leases.lapsed(102.0) == []

    def test_a_node_is_known_until_it_is_forgotten(self) -> None:
        leases = Leases()
        leases.beat("a", 10.0, 0.0)
        assert "a" in leases
        assert list(leases) == ["a"]
        leases.forget("a")
        leases.forget("a")
        assert "a" not in leases
