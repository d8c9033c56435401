"""What every service must survive: being started and stopped in any order, by anybody."""

from __future__ import annotations

import threading
from collections.abc import Callable

from taskrunner.service import Service

_PATIENCE_S = 20.0


def start_stop_stress(make_service: Callable[[], Service], *, rounds: int = 5) -> None:
    """Start and stop services in every order the contract of `service.Service` allows.

    Raises AssertionError when a `stop` does not return, or threads are left over; what a service
    raises goes through.
    """
    before = set(threading.enumerate())
    _stop_before_start(make_service)
    _stop_twice(make_service)
    for _ in range(rounds):
        _stop_at_once(make_service)
        _stop_from_many_threads(make_service)
    left = {thread for thread in threading.enumerate() if thread.is_alive()} - before
    assert not left, f"threads that outlived their service: {sorted(t.name for t in left)}"


def _stop_before_start(make_service: Callable[[], Service]) -> None:
    _within_deadline(make_service().stop)


def _stop_twice(make_service: Callable[[], Service]) -> None:
    service = make_service()
    service.start()
    _within_deadline(service.stop)
    _within_deadline(service.stop)


def _stop_at_once(make_service: Callable[[], Service]) -> None:
    service = make_service()
    service.start()
    _within_deadline(service.stop)


def _stop_from_many_threads(make_service: Callable[[], Service]) -> None:
    service = make_service()
    service.start()
    gate = threading.Barrier(4)

    def stop() -> None:
        gate.wait(_PATIENCE_S)
        service.stop()

    _within_deadline(*[stop] * 4)


def _within_deadline(*calls: Callable[[], None]) -> None:
    """Make the calls, each in a thread of its own; raise what one of them raised."""
    raised: list[BaseException] = []

    def run(call: Callable[[], None]) -> None:
        try:
            call()
        except BaseException as error:  # noqa: BLE001  raised again by the thread that waits
            raised.append(error)

    threads = [threading.Thread(target=run, args=(call,), daemon=True) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(_PATIENCE_S)
        assert not thread.is_alive(), f"stop() did not return within {_PATIENCE_S:g} s"
    if raised:
        raise raised[0]
