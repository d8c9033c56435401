"""What `taskrunner bench` tries, how it counts, and what it recommends."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from xml.etree import ElementTree

import pytest

from taskrunner import App
from taskrunner.bench import advice, trial
from taskrunner.bench.grid import Setting, grid, numbers, prefetches, usual_processes
from taskrunner.bench.trial import Measured, Producer, measure
from taskrunner.bench.workplace import QUEUE, Workplace, chosen_task, new_namespace
from taskrunner.brokers.base import Broker, JobKey, NodeInfo, Outcome, OutcomeKind, Take
from taskrunner.errors import ArgumentError, OptionError, StartError
from taskrunner.states import State


def measured(rate: float, failed: int = 0) -> Measured:
    return Measured(rate, rate * 0.9, rate * 1.1, failed)


def make_app() -> App:
    app = App("memory://")

    @app.task(name="add")
    def add(a: int, b: int = 1) -> int:
        return a + b

    return app


# -- what to try


def test_everything_is_tried_with_everything() -> None:
    settings = grid([1, 2], [1, 10], ["auto", "5"])
    assert len(settings) == len(set(settings)) == 8
    assert settings[0].options == (
        *("--processes", "1", "--concurrency", "1", "--prefetch", "auto"),
    )
    assert 1 in usual_processes()


def test_lists_are_read_once_each() -> None:
    assert numbers("4, 1,4", "--processes") == [4, 1]
    assert prefetches("auto,01,auto,100") == ["auto", "1", "100"]


@pytest.mark.parametrize("text", ["", "0", "x", "1,,2", "-1", "1.5", "1001"])
def test_what_is_no_list_is_refused_with_what_is_accepted(text: str) -> None:
    with pytest.raises(OptionError, match=r"--processes .* from 1 to 1,000, as in 1,2,4"):
        numbers(text, "--processes", most=1000)
    if text != "1001":
        with pytest.raises(OptionError, match="auto or whole numbers"):
            prefetches(text)


def test_a_task_is_chosen_where_there_is_a_choice() -> None:
    app = make_app()
    assert chosen_task(app, None).name == "add"
    app.task(name="other")(lambda: None)
    with pytest.raises(OptionError, match="add, other"):
        chosen_task(app, None)
    with pytest.raises(OptionError, match=r"--task 'ad'.*add"):
        chosen_task(app, "ad")
    with pytest.raises(OptionError, match="declares none"):
        chosen_task(App("memory://"), None)


def test_arguments_that_do_not_fit_are_refused_before_anything_is_stored() -> None:
    app = make_app()
    with pytest.raises(ArgumentError):
        Workplace(app, app.tasks["add"], (), {})
    assert app.broker.queues() == []


def test_there_are_many_of_a_unique_job() -> None:
    app = App("memory://")
    app.task(name="once", unique=True)(lambda a: None)
    place = Workplace(app, app.tasks["once"], (1,), {})
    place.submit(3)
    assert pending(place) == 3


def test_namespaces_are_new() -> None:
    assert new_namespace() != new_namespace()


# -- how it counts


class FakeNode:
    """Does so many jobs at each look, in the store itself."""

    def __init__(self, broker: Broker, each: int, *, fails: bool = False) -> None:
        self._broker, self._each, self._fails = broker, each, fails
        self._first = 1
        self.has_ended = False
        broker.join(NodeInfo(id="n", lease=1000.0), [QUEUE])

    def work(self) -> None:
        take = Take(QUEUE, self._each)
        found = self._broker.fetch("n", [take], self._first).deliveries
        self._first += self._each
        kind = OutcomeKind.FAILED if self._fails else OutcomeKind.SUCCEEDED
        self._broker.settle(
            "n", [Outcome(QUEUE, one.id, one.number, kind, retention=0.0) for one in found]
        )

    def check(self) -> None:
        if self.has_ended:
            raise StartError("it has ended")
        self.work()


class Clock:
    """Moves on by a hundredth of a second whenever it is asked."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        self.now += 0.01
        return self.now


@pytest.fixture
def place() -> Workplace:
    app = make_app()
    return Workplace(app, app.tasks["add"], (1,), {})


def broker_of(place: Workplace) -> Broker:
    assert isinstance(place.app.broker, Broker)
    return place.app.broker


def pending(place: Workplace) -> int:
    return place.stats().counts[State.PENDING]


def try_one(
    place: Workplace, monkeypatch: pytest.MonkeyPatch, *, each: int = 20, fails: bool = False
) -> Measured:
    node = FakeNode(broker_of(place), each, fails=fails)
    clock = Clock()

    class Pause:
        def wait(self, _: float) -> None:
            node.work()

    @contextmanager
    def start() -> Iterator[FakeNode]:
        yield node

    monkeypatch.setattr(trial, "monotonic", clock)
    monkeypatch.setattr("taskrunner.bench.trial.threading.Event", Pause)
    return measure(place, Setting(2, 3, "auto"), 0.6, start=start, expected=1000.0)


def test_the_rate_is_what_the_store_counted(
    place: Workplace, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = try_one(place, monkeypatch)
    assert found.failed == 0
    assert found.low <= found.rate <= found.high
    assert found.rate == pytest.approx(
        2_000, rel=0.1
    )  # twenty at each look, a hundred looks a second


def test_failures_count_as_done_and_are_told_of(
    place: Workplace, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = try_one(place, monkeypatch, fails=True)
    assert found.failed > 0
    assert found.rate == pytest.approx(2_000, rel=0.1)


def test_jobs_wait_before_the_node_starts_and_never_run_out(place: Workplace) -> None:
    producer = Producer(place, slots=10, ahead=4_000)
    assert pending(place) == pytest.approx(4_000, abs=500)
    node = FakeNode(broker_of(place), 1_000)
    for _ in range(20):
        node.work()
        producer.look()
        assert pending(place) >= 500
    assert pending(place) <= 4_000


def test_the_next_trial_takes_what_the_last_one_left(place: Workplace) -> None:
    for _ in range(3):
        Producer(place, slots=1, ahead=0)
    assert pending(place) == pytest.approx(2_000, abs=500)


def test_heavy_arguments_do_not_fill_the_store() -> None:
    app = App("memory://")
    app.task(name="carry")(lambda data: None)
    place = Workplace(app, app.tasks["carry"], (b"x" * 1_000_000,), {})
    Producer(place, slots=2, ahead=1e9)
    assert pending(place) <= 70
    Producer(place, slots=30, ahead=0)  # but every slot has its work
    assert pending(place) >= 100


def test_many_jobs_at_once_have_as_many_waiting(place: Workplace) -> None:
    Producer(place, slots=1_000, ahead=0)
    assert pending(place) >= 3_500


# -- what it says


def test_the_cheapest_of_the_fast_is_recommended() -> None:
    trials = {
        Setting(1, 1, "auto"): measured(50.0),
        Setting(2, 1, "auto"): measured(97.0),
        Setting(2, 1, "1"): measured(96.0),
        Setting(2, 10, "auto"): measured(98.0),
        Setting(4, 1, "auto"): measured(100.0),
    }
    assert advice.best(trials) == Setting(2, 1, "auto")
    text = advice.in_words(trials)
    assert "--processes 2 --concurrency 1 --prefetch auto" in text
    assert "97 % of the fastest (4 x 1, prefetch auto)" in text


def test_the_fastest_may_be_the_cheapest() -> None:
    trials = {Setting(1, 1, "auto"): measured(100.0), Setting(2, 1, "auto"): measured(90.0)}
    assert "the fastest of 2 tried" in advice.in_words(trials)


@pytest.mark.parametrize("processes", [[1], [1, 2, 4]])
def test_every_trial_is_in_the_picture(processes: list[int]) -> None:
    trials = {setting: measured(10.0) for setting in grid(processes, [1, 10], ["auto", "1"])}
    picture = ElementTree.fromstring(advice.picture(trials, "add"))
    tags = [element.tag.rpartition("}")[2] for element in picture.iter()]
    shown = tags.count("circle") or tags.count("rect") - 1
    assert shown == len(trials)


def test_a_failure_is_quoted_and_erased_with_everything_else(place: Workplace) -> None:
    assert place.a_failure() is None
    place.submit(3)
    FakeNode(broker_of(place), 1, fails=True).work()
    assert place.a_failure() is None  # this one kept no error
    (key,) = broker_of(place).jobs(QUEUE, State.FAILED).keys
    assert isinstance(key, JobKey)
    place.erase()
    assert place.app.broker.queues() == []
