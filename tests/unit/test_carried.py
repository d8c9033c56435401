from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import InitVar, dataclass, field
from datetime import date
from typing import Annotated, Any, NamedTuple, NewType

import pydantic
import pytest

from taskrunner.carried import shaped
from taskrunner.codec import Codec
from taskrunner.errors import ArgumentError, MessageError


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Rights(enum.Flag):
    READ = enum.auto()
    WRITE = enum.auto()


class Level(enum.IntEnum):
    LOW = 1


@dataclass(frozen=True)
class Point:
    x: int
    y: int = 0
    colour: Colour = Colour.RED


@dataclass
class Counted:
    """Its constructor does something that must not happen twice."""

    values: list[int]
    built: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        self.values.append(len(self.values))
        self.built += 1


class Pair(NamedTuple):
    left: Point
    right: Point | None = None


class Address(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="allow")

    city: str = pydantic.Field(alias="CITY")
    since: date = date(2020, 1, 1)
    points: list[Point] = []
    _seen: int = pydantic.PrivateAttr(default=0)


@dataclass
class Undeclared:
    x: int


PointId = NewType("PointId", Point)


def codec_for(*functions: Callable[..., Any]) -> Codec:
    codec = Codec()
    for function in functions:
        codec.declared.add(function)
    return codec


def takes_all(  # type: ignore[empty-body]
    a: dict[str, list[Pair]],
    *b: Address | None,
    c: Annotated[Rights, "meta"],
    d: Level,
    **e: Counted,
) -> Colour: ...


@pytest.mark.parametrize(
    "value",
    [
        Colour.BLUE,
        Rights.READ | Rights.WRITE,
        Level.LOW,
        Point(1, 2, Colour.BLUE),
        Pair(Point(1), None),
        [{(Pair(Point(1), Point(2)),): {Point(3)}}],
        Counted([1, 2]),
        Address(CITY="Rome", points=[Point(1)], more="yes"),  # type: ignore[call-arg]
    ],
)
def test_declared_classes_arrive_equal_and_of_the_same_type(value: Any) -> None:
    codec = codec_for(takes_all)
    found = codec.unpack(codec.pack(value))
    assert found == value
    assert type(found) is type(value)


def test_private_attributes_and_what_was_set_of_a_model_arrive_too() -> None:
    codec = codec_for(takes_all)
    sent = Address(CITY="Rome")
    sent._seen = 5
    found = codec.unpack(codec.pack(sent))
    assert found._seen == 5
    assert found.model_fields_set == {"city"}


def test_a_constructor_does_not_run_twice() -> None:
    codec = codec_for(takes_all)
    sent = Counted([])
    assert codec.unpack(codec.pack(sent)).values == [0]


def test_classes_are_found_however_deep_an_annotation_mentions_them() -> None:
    def function(value: list[tuple[int, PointId]]) -> None: ...

    codec = codec_for(function)
    assert codec.unpack(codec.pack(Point(1))) == Point(1)


def test_an_annotation_that_cannot_be_evaluated_hides_no_other() -> None:
    def function(one: OnlyForTypeCheckers, two: Point) -> None: ...  # type: ignore[name-defined]  # noqa: F821

    codec = codec_for(function)
    assert codec.unpack(codec.pack(Point(1))) == Point(1)


def test_a_class_that_no_task_mentions_is_refused_with_advice() -> None:
    with pytest.raises(ArgumentError, match=r"argument 0.*Undeclared.*annotate the parameter"):
        codec_for(takes_all).pack_call((Undeclared(1),), {})


def test_a_client_without_the_tasks_code_sends_what_it_has() -> None:
    sent = Codec().pack(Point(1))
    assert codec_for(takes_all).unpack(sent) == Point(1)
    with pytest.raises(ArgumentError, match=r"no task here mentions the type '.*Colour'"):
        Codec().unpack(sent)


@dataclass
class Old:
    kept: int
    gone: int = 5


def test_a_class_whose_fields_changed_says_which() -> None:
    codec = codec_for(takes_all)
    known = codec.declared.of_class(Point)
    with pytest.raises(ArgumentError, match=r"Point has no field 'z', needs the field 'x'"):
        known.restore({"z": 1})
    assert known.restore({"x": 1}) == Point(1), "a field with a default may be missing"


@pytest.mark.parametrize("contents", [5, [], {"x": 1, "q": 1}, None, "x"])
@pytest.mark.parametrize("kind", [Point, Pair, Colour, Rights, Address, Counted])
def test_contents_that_do_not_fit_are_an_error_of_ours(kind: type, contents: Any) -> None:
    codec = codec_for(takes_all)
    name = codec.declared.of_class(kind).name
    import msgpack

    if kind is Rights and contents == 5:
        contents = "no number"
    wire = msgpack.packb([msgpack.ExtType(4, b""), name, contents])
    with pytest.raises((ArgumentError, MessageError)):
        codec.unpack(wire)


# -- plain values from strangers


@pytest.mark.parametrize(
    ("hint", "value", "expected"),
    [
        (Point, {"x": 1, "colour": "blue"}, Point(1, 0, Colour.BLUE)),
        (Point | None, {"x": 1}, Point(1)),
        (Point | None, None, None),
        (list[Point], [{"x": 1}, Point(2)], [Point(1), Point(2)]),
        (dict[str, Point], {"a": {"x": 1}}, {"a": Point(1)}),
        (Pair, {"left": {"x": 1}}, Pair(Point(1))),
        (Colour, "red", Colour.RED),
        (Address, {"CITY": "Rome", "since": "2024-01-02"}, None),
        (Annotated[Point, 5], {"x": 1}, Point(1)),
        (dict[str, int] | Point, {"x": 1}, {"x": 1}),
        (int, "left alone", "left alone"),
        (Any, {"x": 1}, {"x": 1}),
    ],
)
def test_a_plain_map_becomes_the_declared_class(hint: Any, value: Any, expected: Any) -> None:
    found = shaped(hint, value)
    if hint is Address:
        assert found == Address(CITY="Rome", since=date(2024, 1, 2))
    else:
        assert found == expected
        assert type(found) is type(expected)


@pytest.mark.parametrize(
    ("hint", "value"),
    [
        (Point, {"z": 1}),
        (Point, 5),
        (Colour, "green"),
        (Address, {"CITY": 5}),
        (list[Point], [{}]),
    ],
)
def test_a_plain_map_that_does_not_fit_is_refused_by_the_classs_name(hint: Any, value: Any) -> None:
    with pytest.raises(ArgumentError, match=r"Point|Colour|Address"):
        shaped(hint, value)


@dataclass
class WithInitVar:
    x: int
    seed: InitVar[int] = 0


def test_a_dataclass_with_an_init_only_value_arrives_as_it_was_built() -> None:
    def function(value: WithInitVar) -> None: ...

    codec = codec_for(function)
    assert codec.unpack(codec.pack(WithInitVar(1, 2))) == WithInitVar(1)
