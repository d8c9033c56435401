"""FakeClock, StoreClock, eventually and start_stop_stress do what their users rely on."""

from __future__ import annotations

import threading

import pytest

from taskrunner import App
from taskrunner.clock import Clock
from taskrunner.testing.clock import FakeClock, StoreClock
from taskrunner.testing.startstop import start_stop_stress
from taskrunner.testing.waiting import eventually


class TestFakeClock:
    def test_stands_still(self) -> None:
        clock: Clock = FakeClock(wall=5.0, monotonic=7.0)
        assert (clock.wall(), clock.monotonic()) == (5.0, 7.0)
        assert (clock.wall(), clock.monotonic()) == (5.0, 7.0)

    def test_advances_both_times(self) -> None:
        clock = FakeClock(wall=5.0, monotonic=7.0)
        clock.advance(1.5)
        assert (clock.wall(), clock.monotonic()) == (6.5, 8.5)

    def test_never_goes_back(self) -> None:
        clock = FakeClock(wall=5.0, monotonic=7.0)
        with pytest.raises(ValueError, match="does not go back"):
            clock.advance(-1.0)
        assert clock.monotonic() == 7.0

    def test_steps_only_the_wall(self) -> None:
        clock = FakeClock(wall=5.0, monotonic=7.0)
        clock.step(-3.0)
        assert (clock.wall(), clock.monotonic()) == (2.0, 7.0)


class TestStoreClock:
    def test_moves_a_stores_time_and_puts_it_right_again(self) -> None:
        app = App("memory://")
        late = app.enqueue("any.task", delay=3600)
        with StoreClock(app.broker) as clock:
            before = clock.now()
            clock.advance(4000)
            assert clock.now() - before >= 4000
            assert app.broker.promote([late.queue], 1) == 1  # type: ignore[attr-defined]
            clock.step(-5000)
            assert clock.now() < before
            assert clock.skew == -1000
        assert before <= app.broker.now() < before + 1000

    def test_advances_only(self) -> None:
        clock = StoreClock(App("memory://").broker)
        with pytest.raises(ValueError, match="does not go back"):
            clock.advance(-1)

    def test_takes_only_what_has_a_clock(self) -> None:
        with pytest.raises(TypeError, match="not a Broker"):
            StoreClock("memory://")


class TestEventually:
    def test_answers_the_first_true_answer(self) -> None:
        answers = iter([0, "", None, "yes", "later"])
        assert eventually(lambda: next(answers)) == "yes"

    def test_says_what_did_not_happen(self) -> None:
        with pytest.raises(AssertionError, match=r"not within 0 s: the bell; last answer: 0"):
            eventually(lambda: 0, timeout=0.0, message="the bell")

    def test_what_the_question_raises_goes_through(self) -> None:
        with pytest.raises(ZeroDivisionError):
            eventually(lambda: 1 / 0)


class Loop:
    """A service with a thread, as they all are; its flaws can be chosen."""

    def __init__(self, *, flaw: str = "") -> None:
        self._flaw = flaw
        self._ending = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        self._thread = threading.Thread(target=self._ending.wait, args=(30.0,), daemon=True)
        self._thread.start()

    def stop(self) -> None:
        if self._flaw == "must be started" and self._thread is None:
            raise RuntimeError("not started")
        if self._flaw == "stops once" and self._ending.is_set():
            raise RuntimeError("stopped twice")
        if self._flaw == "leaves its thread":
            return
        self._ending.set()
        if self._thread is not None:
            self._thread.join()


class TestStartStopStress:
    def test_a_good_service_passes(self) -> None:
        start_stop_stress(Loop)

    @pytest.mark.parametrize(
        ("flaw", "error"),
        [
            ("must be started", "not started"),
            ("stops once", "stopped twice"),
            ("leaves its thread", "outlived their service"),
        ],
    )
    def test_a_flawed_one_does_not(self, flaw: str, error: str) -> None:
        made: list[Loop] = []

        def make() -> Loop:
            made.append(Loop(flaw=flaw))
            return made[-1]

        try:
            with pytest.raises((AssertionError, RuntimeError), match=error):
                start_stop_stress(make, rounds=1)
        finally:
            for loop in made:
                loop._ending.set()
                if loop._thread is not None:
                    loop._thread.join(10.0)
