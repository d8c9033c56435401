"""Classes of the user that travel by the declarations of tasks: what a task's annotations mention.

A dataclass, a named tuple, a pydantic model or an enum is sent as its qualified name and its
contents. The receiver looks the name up among the classes that the annotations of its own tasks
mention, however deep; a name that is not there is an error, so bytes never choose what is imported.
The contents are put back as `copy` would do it: no constructor or validator of the user runs twice.

Where an annotation names such a class and a plain map arrives (from another language, or from the
command line), `shaped` builds the instance from it, validating as the class itself does.
"""

from __future__ import annotations

import dataclasses
import enum
import functools
import inspect
import sys
import threading
import types
import typing
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from taskrunner.errors import ArgumentError
from taskrunner.naming import kind_name, nearest, qualified_name

_UNIONS: Final = (typing.Union, types.UnionType)


class Carried:
    """How the instances of one class travel."""

    def __init__(
        self,
        kind: type,
        *,
        take: Callable[[Any], Any],
        restore: Callable[[Any], Any],
        build: Callable[[Any], Any],
    ) -> None:
        self.kind = kind
        self.name: str = qualified_name(kind)
        self.take = take
        """an instance to plain contents"""
        self.restore = restore
        """the contents back to an equal instance"""
        self.build = build
        """a plain value, as a stranger writes it, to an instance"""


@functools.lru_cache(maxsize=1024)
def carried(kind: type) -> Carried | None:
    """How instances of `kind` travel, or None where it is not of a kind that does."""
    if issubclass(kind, enum.Enum):
        return _enum(kind)
    if dataclasses.is_dataclass(kind):
        return _dataclass(kind)
    if issubclass(kind, tuple) and hasattr(kind, "_fields"):
        return _named_tuple(kind)
    if hasattr(kind, "__pydantic_fields__") and hasattr(kind, "model_validate"):
        return _model(kind)
    return None


class DeclaredTypes:
    """The classes that the annotations of some functions mention. Looked at when first needed,
    because annotations may name classes that are defined further down."""

    def __init__(self) -> None:
        self._pending: list[Callable[..., Any]] = []
        self._known: dict[str, Carried] = {}
        self._lock = threading.Lock()
        self.empty: bool = True
        """no function was added: a client that does not have the tasks' code"""

    def add(self, function: Callable[..., Any]) -> None:
        """Take in the annotations of this function."""
        self.empty = False
        self._pending.append(function)

    def of_class(self, kind: type) -> Carried:
        """How to carry instances of `kind`. Raises ArgumentError unless it is declared."""
        found = self._all().get(qualified_name(kind))
        if found is not None and found.kind is kind:
            return found
        made = carried(kind)
        if made is None:
            raise ArgumentError(f"{kind_name(kind)} cannot be carried")
        if not self.empty:
            raise ArgumentError(
                f"{made.name} is carried only where the annotations of a task mention it: annotate "
                f"the parameter with it, or give App(encoders=…) one for it"
            )
        return made

    def of_name(self, name: object) -> Carried:
        """How to restore instances of the class of this name. Raises ArgumentError unless it is
        declared."""
        known = self._all()
        if isinstance(name, str) and name in known:
            return known[name]
        raise ArgumentError(
            f"no task here mentions the type {name!r} in its annotations; {nearest(str(name), known)}"
        )

    def _all(self) -> dict[str, Carried]:
        if self._pending:
            with self._lock:
                while self._pending:
                    for hint in hints_of(self._pending[-1]).values():
                        self._take_in(hint)
                    self._pending.pop()
        return self._known

    def _take_in(self, hint: Any) -> None:
        for kind in _classes(hint):
            name = qualified_name(kind)
            if name not in self._known and (found := carried(kind)) is not None:
                self._known[name] = found
                for inner in _field_hints(kind).values():
                    self._take_in(inner)


def hints_of(thing: Any) -> dict[str, Any]:
    """The annotations of a function or class. One that cannot be evaluated is left out: it may
    name something that only a type checker imports."""
    found: dict[str, Any] = {}
    bases = reversed(thing.__mro__) if isinstance(thing, type) else (inspect.unwrap(thing),)
    for owner in bases:
        for name, hint in inspect.get_annotations(owner).items():
            holder = types.SimpleNamespace(__annotations__={name: hint})
            try:
                found.update(
                    typing.get_type_hints(holder, _globals(owner), vars(owner), include_extras=True)
                )
            except Exception:  # noqa: BLE001  any code can stand in an annotation
                continue
    return found


def _globals(owner: Any) -> dict[str, Any]:
    namespace = getattr(owner, "__globals__", None)
    return namespace if namespace is not None else vars(sys.modules.get(owner.__module__, types))


def _classes(hint: Any) -> Iterator[type]:
    """Every class that a type hint mentions."""
    if isinstance(hint, type):
        yield hint
        return
    if hasattr(hint, "__supertype__"):  # NewType
        yield from _classes(hint.__supertype__)
    if hasattr(hint, "__value__"):  # type X = …
        yield from _classes(hint.__value__)
    if isinstance(hint, typing.TypeVar):
        for bound in (hint.__bound__, *hint.__constraints__):
            yield from _classes(bound)
        return
    origin = typing.get_origin(hint)
    if isinstance(origin, type):
        yield origin
    for argument in typing.get_args(hint):
        yield from _classes(argument)


def _field_hints(kind: type) -> Mapping[str, Any]:
    models: Any = getattr(kind, "__pydantic_fields__", None)
    if models is not None:
        return {name: field.annotation for name, field in models.items()}
    if issubclass(kind, enum.Enum):
        return {}
    return hints_of(kind)


# -- the kinds


def _enum(kind: type[enum.Enum]) -> Carried:
    def build(value: Any) -> Any:
        try:
            return kind(value)
        except (ValueError, TypeError) as error:
            raise ArgumentError(f"{qualified_name(kind)}: {error}") from error

    if issubclass(kind, enum.Flag):
        # A combination of flags has no name of its own that could be looked up.
        return Carried(kind, take=lambda one: one.value, restore=build, build=build)

    def restore(name: Any) -> Any:
        try:
            return kind[name]
        except KeyError:
            known = nearest(str(name), kind.__members__)
            raise ArgumentError(f"{qualified_name(kind)} has no member {name!r}; {known}") from None

    return Carried(kind, take=lambda one: one.name, restore=restore, build=build)


def _dataclass(kind: type) -> Carried:
    names = [field.name for field in dataclasses.fields(kind)]
    defaults = {
        field.name: field
        for field in dataclasses.fields(kind)
        if field.default is not dataclasses.MISSING
        or field.default_factory is not dataclasses.MISSING
    }

    def take(one: Any) -> Any:
        return {name: getattr(one, name) for name in names}

    def restore(contents: Any) -> Any:
        _check_fields(kind, contents, names, defaults)
        one: Any = object.__new__(kind)
        for name in names:
            value = contents[name] if name in contents else _default(defaults[name])
            object.__setattr__(one, name, value)
        return one

    return Carried(kind, take=take, restore=restore, build=lambda plain: _built(kind, plain))


def _default(field: dataclasses.Field[Any]) -> Any:
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return field.default


def _named_tuple(kind: Any) -> Carried:
    def restore(contents: Any) -> Any:
        _check_fields(kind, contents, kind._fields, kind._field_defaults)
        values = {**kind._field_defaults, **contents}
        return kind._make(values[name] for name in kind._fields)

    return Carried(
        kind,
        take=lambda one: dict(zip(kind._fields, one, strict=True)),
        restore=restore,
        build=lambda plain: _built(kind, plain),
    )


def _model(kind: Any) -> Carried:
    """A pydantic model. What pydantic itself keeps of an instance for `copy` and `pickle` is four
    parts: fields, the names of those that were set, extra fields and private attributes."""

    def take(one: Any) -> Any:
        private = getattr(one, "__pydantic_private__", None)
        return [
            dict(one.__dict__),
            sorted(one.__pydantic_fields_set__),
            one.__pydantic_extra__,
            private and dict(private),
        ]

    def restore(contents: Any) -> Any:
        values, were_set, extra, private = contents
        fields = kind.__pydantic_fields__
        known = {name: values[name] for name in values if name in fields}
        optional = [name for name, field in fields.items() if not field.is_required()]
        _check_fields(kind, known, fields, optional)
        one = kind.model_construct(_fields_set=set(were_set), **known)
        state = {"__dict__": {**one.__dict__, **known}, "__pydantic_fields_set__": set(were_set)}
        state["__pydantic_extra__"] = extra
        state["__pydantic_private__"] = private or one.__pydantic_private__
        one.__setstate__(state)
        return one

    return Carried(kind, take=take, restore=restore, build=lambda plain: _validated(kind, plain))


def _check_fields(kind: type, contents: Any, names: Any, optional: Any) -> None:
    if not isinstance(contents, dict):
        raise ArgumentError(f"{qualified_name(kind)}: expected a map of its fields")
    unknown = [name for name in contents if name not in names]
    missing = [name for name in names if name not in contents and name not in optional]
    if unknown or missing:
        parts = [f"has no field {name!r}" for name in unknown]
        parts += [f"needs the field {name!r}" for name in missing]
        raise ArgumentError(f"{qualified_name(kind)} {', '.join(parts)}")


# -- plain values from strangers


def shaped(hint: Any, value: Any) -> Any:
    """`value` with the plain parts that `hint` declares as a class of the user's made into it.

    Raises ArgumentError where the class refuses them.
    """
    kind = type(value)
    if isinstance(hint, type):
        found = carried(hint)
        return value if found is None or isinstance(value, hint) else found.build(value)
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in _UNIONS:
        return _shaped_union(arguments, value)
    if origin is typing.Annotated:
        return shaped(arguments[0], value)
    if kind is list and arguments and origin is not None and origin is not tuple:
        return [shaped(arguments[0], item) for item in value]
    if kind is dict and len(arguments) == 2:
        return {key: shaped(arguments[1], item) for key, item in value.items()}
    return value


def mentions_classes(hint: Any) -> bool:
    """Whether `shaped` can have anything to do for this hint."""
    return any(carried(kind) is not None for kind in _classes(hint))


def _shaped_union(members: tuple[Any, ...], value: Any) -> Any:
    """The first member that takes the value; a value that is of one of them already stays."""
    plain = [typing.get_origin(member) or member for member in members]
    if any(isinstance(one, type) and isinstance(value, one) for one in plain):
        return value
    refused: ArgumentError | None = None
    for member in members:
        try:
            return shaped(member, value)
        except ArgumentError as error:
            refused = error
    if refused is not None:
        raise refused
    return value


def _built(kind: Any, plain: Any) -> Any:
    if not isinstance(plain, dict):
        raise ArgumentError(
            f"expected {qualified_name(kind)} or a map of its fields, got {type(plain).__name__}"
        )
    hints = hints_of(kind)
    try:
        return kind(**{name: shaped(hints.get(name), item) for name, item in plain.items()})
    except (TypeError, ValueError) as error:
        raise ArgumentError(f"{qualified_name(kind)}: {error}") from error


def _validated(kind: Any, plain: Any) -> Any:
    try:
        return kind.model_validate(plain)
    except ValueError as error:
        raise ArgumentError(f"{qualified_name(kind)}: {error}") from error
