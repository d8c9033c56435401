"""Names: what a function or class is called across processes, and which name was probably meant."""

from __future__ import annotations

import difflib
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Final

LOADED_SCRIPT: Final = "__taskrunner_main__"
"""What a script is called in a process that loads it by its path, where its own stem is taken."""

_SCRIPTS: Final = frozenset({"__main__", LOADED_SCRIPT})


def public_module(module: str) -> str:
    """The module's name as other processes see it.

    A script is `__main__` to itself only: it goes by the name it was started under (`python -m
    name`), else by the stem of its file. In an interactive session there is neither.
    """
    if module not in _SCRIPTS:
        return module
    main = sys.modules.get(module)
    spec = getattr(main, "__spec__", None)
    if module == "__main__" and spec is not None:
        return str(spec.name)
    path = getattr(main, "__file__", None)
    return Path(path).stem if path else module


def qualified_name(thing: type | object) -> str:
    """`module.qualname` of a class or function, as other processes see it."""
    qualname = getattr(thing, "__qualname__", type(thing).__qualname__)
    module = getattr(thing, "__module__", None) or type(thing).__module__
    return f"{public_module(module)}.{qualname}"


def type_name(value: object) -> str:
    """The type of a value, for messages: without the module where that is builtins."""
    return kind_name(type(value))


def kind_name(kind: type) -> str:
    """A class, for messages: without the module where that is builtins."""
    return kind.__qualname__ if kind.__module__ == "builtins" else qualified_name(kind)


def nearest(name: str, known: Iterable[str]) -> str:
    """A clause for an error message: the known names like this one, else some that exist."""
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=3, cutoff=0.6)
    if close:
        return f"did you mean {' or '.join(repr(found) for found in close)}?"
    if not names:
        return "there are none"
    shown = ", ".join(names[:20])
    return f"there are: {shown}, …" if len(names) > 20 else f"there are: {shown}"
