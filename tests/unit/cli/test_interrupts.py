from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest

from taskrunner.cli import interrupts


@pytest.fixture(autouse=True)
def handler(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    before = signal.getsignal(signal.SIGINT)
    monkeypatch.setattr(interrupts, "_asked", False)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_put_off_then_raised_and_remembered() -> None:
    interrupts.put_off()
    assert signal.getsignal(signal.SIGINT) is signal.SIG_DFL
    interrupts.raise_()
    interrupts.check()
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        interrupts.check()
    interrupts.put_off()
    assert signal.getsignal(signal.SIGINT) is signal.SIG_DFL


def test_a_process_that_ignores_it_goes_on_ignoring_it() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    interrupts.put_off()
    interrupts.raise_()
    assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN


def test_raise_without_put_off_changes_nothing() -> None:
    interrupts.raise_()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
