"""`redact`: values that neither commands, nor answers, nor kept errors show."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest
from pydantic import BaseModel

from taskrunner import App, OptionError
from taskrunner.brokers.base import OutcomeKind
from taskrunner.inspector import Inspector, JobFilter
from taskrunner.message import unpack
from taskrunner.redaction import hidden, marks_of, scrubber
from tests.unit.worker.one_child import error_of, one_child

CARD = "4111-1111-1111-1111"


@dataclass
class Payment:
    card: str
    amount: int


class Form(BaseModel):
    card: str
    amount: int


def declare(app: App) -> Callable[..., Any]:
    @app.task(name="pay", retries=0, redact=("card", "pin"))
    def pay(amount: int, card: Any, *, pin: int = 0, note: str = "") -> None:
        """Whatever it is given, it fails and says so."""
        raise ValueError(f"refused: {card!r} {pin} {note}")

    return pay


@pytest.mark.parametrize(
    ("redact", "marks"),
    [
        (("b",), ("b", "1")),
        (["c"], ("c",)),
        (("rest",), ("rest", "2+")),
        (("b", "anything", "b"), ("b", "1", "anything")),
        ((), ()),
    ],
)
def test_a_parameter_is_marked_by_its_name_and_its_place(
    redact: tuple[str, ...], marks: tuple[str, ...]
) -> None:
    def fn(a: int, b: int, *rest: int, c: int = 0, **others: int) -> None: ...

    assert marks_of(inspect.signature(fn), redact) == marks


@pytest.mark.parametrize(
    ("redact", "said"),
    [
        (("crad",), "no parameter 'crad'; did you mean 'card'"),
        ("card", "expected names of parameters"),
        (7, "expected names of parameters"),
        ((7,), "no parameter 7"),
    ],
)
def test_what_is_no_parameter_is_an_error_of_the_declaration(redact: Any, said: str) -> None:
    app = App("memory://")
    with pytest.raises(OptionError, match=said):

        @app.task(name="pay", redact=redact)
        def pay(amount: int, card: str) -> None: ...

    assert not app.tasks


def test_arguments_by_any_name_are_marked_one_by_one() -> None:
    def fn(**others: int) -> None: ...

    with pytest.raises(OptionError, match="takes arguments by any name"):
        marks_of(inspect.signature(fn), ("others",))


def test_what_is_shown() -> None:
    marks = ("b", "1", "3+")
    args = ("a", "b", "c", "d", "e")
    assert hidden(marks, args, {"b": 1, "f": 2}) == (
        ("a", "***", "c", "***", "***"),
        {"b": "***", "f": 2},
    )
    assert hidden((), args, {"b": 1}) == (args, {"b": 1})


def test_values_are_found_in_errors_however_deep_they_are() -> None:
    class Sly:
        def __repr__(self) -> str:
            raise ValueError

    value = {"deep": [Payment(CARD, 7), b"\x00binary", (123456, 12), Sly(), None, True]}
    scrub = scrubber(("0",), (value,), {})
    text = f"{value['deep'][:3]!r} {CARD} 123456 x12 True"
    assert CARD not in scrub(text)
    assert "123456" not in scrub(text)
    assert "binary" not in scrub(text)
    assert scrub(text).endswith("x12 True")
    assert scrubber((), (CARD,), {})(CARD) == CARD


def test_no_onlooker_sees_it_with_the_code_or_without() -> None:
    app = App("memory://")
    declare(app)
    pay: Any = app.tasks["pay"]
    job = pay.options(delay=60).enqueue(7, CARD, pin=1234)
    app.schedules.add("s", pay, args=(7, CARD), kwargs={"pin": 1234}, every=60)
    for onlooker in (app, App(app.broker)):
        info = onlooker.job(job.id).info()
        assert (info.args, info.kwargs) == ((7, "***"), {"pin": "***"})
        assert info.unredacted == ((7, CARD), {"pin": 1234})
        schedule = onlooker.schedules.get("s")
        assert schedule is not None
        assert schedule.args == (7, "***")
        # Nor can it be found out by asking which jobs hold it.
        wanted = JobFilter(text=CARD, in_data=True)
        assert Inspector(onlooker).jobs(wanted).jobs == ()
    by_name = app.enqueue("pay", (7, CARD), {"pin": 1234}, delay=60)
    assert by_name.info().args == (7, "***")


def test_the_code_hides_what_was_submitted_without_it() -> None:
    app = App("memory://")
    job = App(app.broker).enqueue("pay", (7, CARD), delay=60)
    assert app.job(job.id).info().args == (7, CARD)
    declare(app)
    assert app.job(job.id).info().args == (7, "***")


def test_errors_are_kept_without_it() -> None:
    app = App("memory://")
    declare(app)
    with one_child(app) as child:
        outcome = child.one(replace(app.tasks["pay"].message(7, CARD, pin=123456, note="mine")))
    assert outcome.kind is OutcomeKind.FAILED
    error = error_of(outcome)
    assert error.message == "refused: *** *** mine"
    assert CARD not in error.traceback
    assert "123456" not in error.traceback
    assert "mine" in error.traceback


def test_an_argument_that_does_not_fit_is_not_shown_either() -> None:
    app = App("memory://")

    @app.task(name="pay", redact=("payment",))
    def pay(payment: Form) -> None: ...

    sent = App(app.broker)
    made = sent.task(name="pay")(lambda payment: None).message({"card": CARD, "amount": CARD})
    with one_child(app) as child:
        outcome = child.one(made)
    assert outcome.kind is OutcomeKind.FAILED
    assert "amount" in error_of(outcome).message
    assert CARD not in error_of(outcome).message


def test_the_marks_travel_with_the_message() -> None:
    app = App("memory://")
    declare(app)
    header, _ = unpack(app.tasks["pay"].options(priority=9).message(7, CARD).wire)
    assert header.redact == ("card", "1", "pin")
