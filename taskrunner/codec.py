"""Values to bytes and back: equal and of the same type, or an error that says which cannot.

    a call    = msgpack array: the positional arguments, then one map of the keyword arguments
    a result  = any one value

Plain values are plain msgpack (null, booleans, integers of 64 bits, floats, text, bytes, arrays,
maps). What msgpack has no type for:

    ext  data                                     what it is
    1    none; first item of an array             the other items are a tuple
    2    none; first item of an array             … a set
    3    none; first item of an array             … a frozenset
    4    none; first item of an array             [name, contents] of a declared class: see carried
    5    none; first item of an array             [name, value] of one of App(encoders=…)
    16   text: ISO 8601, [Zone/Name], [fold=1]    datetime: naive, with an offset or a zoneinfo zone
    17   text: ISO 8601                           date
    18   text: ISO 8601, [Zone/Name], [fold=1]    time
    19   microseconds, big-endian signed          timedelta
    20   16 bytes                                 UUID
    21   text                                     Decimal
    22   big-endian signed                        an integer over 64 bits
    23   two big-endian doubles                   complex

Map keys may be of any of these types that can be hashed. NaN arrives as NaN, which equals nothing
on either side. Instances of subclasses of these types are refused, not silently made plain;
nothing is ever pickled, imported or evaluated by what bytes say.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, NamedTuple

import msgpack

from taskrunner.carried import DeclaredTypes
from taskrunner.errors import ArgumentError, MessageError
from taskrunner.naming import nearest, qualified_name, type_name
from taskrunner.scalars import SCALARS

ExtType = msgpack.ExtType


class Encoder(NamedTuple):
    """How values of one more type travel: for `App(encoders=[…])`.

    `encode` answers something that can be carried, `decode` makes an equal value of it. `name`
    stands for the type on the wire; by default its qualified name.
    """

    kind: type
    encode: Callable[[Any], Any]
    decode: Callable[[Any], Any]
    name: str = ""


class Codec:
    """Packs and unpacks calls and values. Thread-safe."""

    def __init__(self, encoders: Iterable[Encoder | tuple[Any, ...]] = ()) -> None:
        self.declared: DeclaredTypes = DeclaredTypes()
        """the classes that tasks' annotations mention"""
        self._local = threading.local()
        self._takers: dict[type, Callable[[Any], Any]] = dict(_TAKERS)
        self._decoders: dict[str, Callable[[Any], Any]] = {}
        for given in encoders:
            self._add(given)

    def pack_call(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bytes:
        """The arguments of a call. Raises ArgumentError naming the position or key, and the type,
        of one that cannot be carried."""
        try:
            for value in args:
                if type(value) not in _SCALARS:
                    _refuse_buffers(value)
            for value in kwargs.values():
                if type(value) not in _SCALARS:
                    _refuse_buffers(value)
            return self._packer().pack([*args, kwargs])  # type: ignore[no-any-return]
        except Exception as error:
            raise self._explained_call(args, kwargs, error) from error

    def unpack_call(self, body: bytes) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The arguments that `pack_call` packed. Raises MessageError for anything else, and
        ArgumentError for a class or encoder that is not known here."""
        if body == _NO_ARGUMENTS:
            return (), {}
        found = self.unpack(body)
        if type(found) is not list or not found or type(found[-1]) is not dict:
            raise MessageError("not the arguments of a call: expected an array that ends in a map")
        kwargs = found.pop()
        if not all(type(name) is str for name in kwargs):
            raise MessageError("not the arguments of a call: a keyword is not text")
        return tuple(found), kwargs

    def pack(self, value: Any) -> bytes:
        """One value. Raises ArgumentError naming the type that cannot be carried, and where."""
        try:
            if type(value) not in _SCALARS:
                _refuse_buffers(value)
            return self._packer().pack(value)  # type: ignore[no-any-return]
        except Exception as error:
            raise ArgumentError(self._located(value, "the value", error)) from error

    def unpack(self, packed: bytes) -> Any:
        """The value that `pack` packed. Raises MessageError and ArgumentError as unpack_call."""
        try:
            found = msgpack.unpackb(
                packed, ext_hook=_scalar, list_hook=self._array, strict_map_key=False
            )
        except ArgumentError:
            raise
        except Exception as error:
            raise MessageError(f"not a value: {type(error).__name__}: {error}") from error
        if type(found) is _Mark:
            raise MessageError("not a value: a mark without its array")
        return found

    def _add(self, given: Encoder | tuple[Any, ...]) -> None:
        encoder = given if isinstance(given, Encoder) else Encoder._make(given)
        if not isinstance(encoder.kind, type):
            raise ArgumentError(f"encoder for {encoder.kind!r}: expected a class")
        if encoder.kind in _TAKERS or encoder.kind in _NATIVE:
            raise ArgumentError(f"encoder for {encoder.kind.__name__}: that is carried already")
        name = encoder.name or qualified_name(encoder.kind)
        if name in self._decoders:
            raise ArgumentError(f"two encoders go by the name {name!r}")
        self._decoders[name] = encoder.decode
        encode = encoder.encode
        self._takers[encoder.kind] = lambda value: _checked([_BY_ENCODER, name, encode(value)])

    def _packer(self) -> Any:
        try:
            return self._local.packer
        except AttributeError:
            # One for each thread: making one costs more than packing with it.
            self._local.packer = packer = msgpack.Packer(
                default=self._taken, strict_types=True, buf_size=4096
            )
            return packer

    def _taken(self, value: Any) -> Any:
        """What stands on the wire for a value that msgpack itself has no type for."""
        kind = type(value)
        take = self._takers.get(kind)
        if take is None:
            take = self._takers[kind] = self._taker_of_declared(kind)
        return take(value)

    def _taker_of_declared(self, kind: type) -> Callable[[Any], Any]:
        try:
            found = self.declared.of_class(kind)
        except ArgumentError as error:
            hint = _ADVICE.get(qualified_name(kind)) or _advice_for_subclass(kind)
            raise ArgumentError(f"{error}{f': {hint}' if hint else ''}") from None
        name, take = found.name, found.take
        return lambda value: _checked([_DECLARED, name, take(value)])

    def _array(self, items: list[Any]) -> Any:
        if not items or type(items[0]) is not _Mark:
            return items
        mark = items[0].code
        if mark == 1:
            return tuple(items[1:])
        if mark == 2:
            return set(items[1:])
        if mark == 3:
            return frozenset(items[1:])
        _, name, contents = items
        if mark == 4:
            return _restored(self.declared.of_name(name).restore, name, contents)
        decode = self._decoders.get(name)
        if decode is None:
            known = nearest(str(name), self._decoders)
            raise ArgumentError(f"no encoder here goes by the name {name!r}; {known}")
        return _restored(decode, name, contents)

    # -- which value it was that could not be carried

    def _explained_call(
        self, args: tuple[Any, ...], kwargs: dict[str, Any], error: Exception
    ) -> ArgumentError:
        named = [(f"argument {at}", value) for at, value in enumerate(args)]
        named += [(f"argument {name!r}", value) for name, value in kwargs.items()]
        for name, value in named:
            found = self._refusal(value)
            if found is not None:
                return ArgumentError(self._located(value, name, found))
        return ArgumentError(f"the arguments cannot be carried: {_plainly(error)}")

    def _located(self, value: Any, path: str, error: Exception) -> str:
        """Follow a value that cannot be carried down to the innermost that is to blame."""
        for _ in range(_DEEPEST_PATH):
            if "nested too deep" in _plainly(error):
                break
            for step, inner in _steps(value):
                found = self._refusal(inner)
                if found is not None:
                    value, path, error = inner, path + step, found
                    break
            else:
                break
        return f"{path} ({type_name(value)}): {_plainly(error)}"

    def _refusal(self, value: Any) -> Exception | None:
        try:
            _refuse_buffers(value)
            self._packer().pack(value)
        except Exception as error:  # noqa: BLE001  see pack_call
            return error
        return None


class _Mark:
    """What an array begins with that is not a list."""

    __slots__ = ("code",)

    def __init__(self, code: int) -> None:
        self.code = code


_TUPLE, _SET, _FROZENSET, _DECLARED, _BY_ENCODER = (ExtType(code, b"") for code in range(1, 6))
_MARKS: Final = {code: _Mark(code) for code in range(1, 6)}
_NO_ARGUMENTS: Final = b"\x91\x80"
_DEEPEST_PATH: Final = 20

_SCALARS: Final = frozenset({type(None), bool, int, float, str, bytes})
_NATIVE: Final = _SCALARS | {list, dict}
_CONTAINERS: Final = frozenset({list, dict, tuple, set, frozenset})
# msgpack would take these and hand out something else.
_BUFFERS: Final = frozenset({bytearray, memoryview, ExtType, msgpack.Timestamp})
_TO_LOOK_AT: Final = _CONTAINERS | _BUFFERS


def _refuse_buffers(value: Any) -> None:
    kind = type(value)
    if kind in _BUFFERS:
        raise ArgumentError(f"{type_name(value)} cannot be carried: {_BUFFER_ADVICE[kind]}")
    if kind not in _CONTAINERS:
        return
    if kind is dict:
        if not _TO_LOOK_AT.isdisjoint(map(type, value)):
            for key in value:
                _refuse_buffers(key)
        value = value.values()
    # One pass at the speed of C settles most containers: nothing in them needs a look.
    if not _TO_LOOK_AT.isdisjoint(map(type, value)):
        for item in value:
            _refuse_buffers(item)


def _checked(wire: Any) -> Any:
    _refuse_buffers(wire[2])
    return wire


_BUFFER_ADVICE: Final[Mapping[type, str]] = {
    bytearray: "pass bytes(value)",
    memoryview: "pass bytes(value)",
    ExtType: "extension types are taskrunner's own; pass bytes, or use App(encoders=…)",
    msgpack.Timestamp: "pass a datetime",
}

_ADVICE: Final[Mapping[str, str]] = {
    "pathlib.PosixPath": "pass str(path)",
    "pathlib.WindowsPath": "pass str(path)",
    "pathlib._local.PosixPath": "pass str(path)",
    "pathlib._local.WindowsPath": "pass str(path)",
    "builtins.range": "pass list(value)",
    "builtins.generator": "pass list(value)",
    "collections.deque": "pass list(value)",
}


def _advice_for_subclass(kind: type) -> str:
    for base in kind.__mro__[1:]:
        if base in _NATIVE or base in _TAKERS:
            return f"it would arrive as a plain {base.__name__}: convert it, or use App(encoders=…)"
    return ""


def _plainly(error: Exception) -> str:
    if isinstance(error, ArgumentError):
        return str(error)
    if isinstance(error, UnicodeEncodeError):
        return (
            "text with a lone surrogate cannot be carried "
            "(a file name that is not UTF-8? pass os.fsencode(name))"
        )
    if isinstance(error, RecursionError) or "recursion limit" in str(error):
        return "nested too deep, or contains itself"
    return f"cannot be carried: {type(error).__name__}: {error}"


def _steps(value: Any) -> Iterable[tuple[str, Any]]:
    """The parts of a container, each with how to write it after the container's own name."""
    if type(value) is dict:
        for key, item in value.items():
            yield f" key {key!r}", key
            yield f"[{key!r}]", item
    elif type(value) in (list, tuple):
        for at, item in enumerate(value):
            yield f"[{at}]", item
    elif type(value) in (set, frozenset):
        for item in value:
            yield " item", item


def _restored(restore: Callable[[Any], Any], name: str, contents: Any) -> Any:
    try:
        return restore(contents)
    except ArgumentError:
        raise
    except Exception as error:
        raise ArgumentError(
            f"{name} cannot be restored: {type(error).__name__}: {error}"
        ) from error


def _scalar_taker(code: int, to_bytes: Callable[[Any], bytes]) -> Callable[[Any], Any]:
    return lambda value: ExtType(code, to_bytes(value))


_TAKERS: Final[Mapping[type, Callable[[Any], Any]]] = {
    tuple: lambda value: [_TUPLE, *value],
    set: lambda value: [_SET, *value],
    frozenset: lambda value: [_FROZENSET, *value],
    **{kind: _scalar_taker(code, take) for kind, (code, take, _) in SCALARS.items()},
}
_SCALAR_READERS: Final = {code: read for code, _, read in SCALARS.values()}


def _scalar(code: int, data: bytes) -> Any:
    mark = _MARKS.get(code)
    if mark is not None:
        return mark
    read = _SCALAR_READERS.get(code)
    if read is None:
        raise MessageError(f"extension type {code} is not known to this version")
    return read(data)
