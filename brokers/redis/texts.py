"""The texts of the scripts, put together from the .lua files.

A file may ask for others in front of it (`-- include: _clock _move`). It gets of their functions those
that it uses: a server makes all functions of a script anew each time it runs, and that of a whole
included file takes longer than storing a job. What few calls need may stand inside a function, between
`-- here: _limits` and `-- end`, and is made when that function is called.

On Redis 7 and later the first line (`#!lua flags=…`) says that a script may run in a full store. Redis 6.2
does not know such lines; there a script that has written once may go on writing, so one that must run in
a full store begins by deleting a key that does not exist.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Final

_FOLDER: Final = resources.files("taskrunner.brokers.redis")
_INCLUDE: Final = re.compile(r"^-- include: (.*)$", re.MULTILINE)
_FUNCTION: Final = re.compile(r"^local function (\w+)\(.*?^end\n", re.MULTILINE | re.DOTALL)
_WORD: Final = re.compile(r"\w+")
_RARELY: Final = re.compile(r"^-- here: ([^\n]*)\n(.*?)^-- end\n", re.MULTILINE | re.DOTALL)
_DRY_RUN: Final = "redis.call('DEL', KEYS[1] .. ':none')\n"


@dataclass(frozen=True, slots=True)
class Script:
    """A script's two texts, for servers that know `#!lua` lines and for those that do not."""

    name: str
    modern: bytes
    plain: bytes

    @classmethod
    @cache
    def read(cls, name: str, *, clustered: bool = False) -> Script:
        shebang, _, body = _text(name).partition("\n")
        text = _assembled(body)
        if "CLUSTERED" in text:
            text = f"local CLUSTERED = {str(clustered).lower()}\n{text}"
        start = _DRY_RUN if "allow-oom" in shebang else ""
        return cls(name, f"{shebang}\n{text}".encode(), f"{start}{text}".encode())


def _text(name: str) -> str:
    return (_FOLDER / f"{name}.lua").read_text("utf-8")


def _without_comments(text: str) -> str:
    """Less to send and to compile; only whole lines, since strings may hold two dashes."""
    lines = (line for line in text.splitlines() if not line.lstrip().startswith("--"))
    return "\n".join(line for line in lines if line.strip()) + "\n"


def _assembled(body: str) -> str:
    """A script with what it includes: in front of it, and for what stands between `-- here: …` and
    `-- end`, which few calls need, there what only that uses."""
    names = [name for line in _INCLUDE.findall(body) for name in line.split()]
    before, within, after = body, "", ""
    if (rare := _RARELY.search(body)) is not None:
        before, within, after = body[: rare.start()], _without_comments(rare[2]), body[rare.end() :]
    before, after = _without_comments(before), _without_comments(after)
    front = ""
    for name in reversed(names):
        front = _used(_library(name), front + before + after) + front
    for name in reversed(rare[1].split() if rare is not None else []):
        library = _library(name)
        if name in names:
            library = "".join(f[0] for f in _FUNCTION.finditer(library) if f[0] not in front)
        within = _used(library, within) + within
    return front + before + within + after


@cache
def _library(name: str) -> str:
    return _without_comments(_text(name))


def _used(library: str, text: str) -> str:
    """The library without the functions that neither the text after it nor a function of its own
    that stays speaks of. In Lua a local function is known only behind its definition."""
    end = len(library)
    kept: list[str] = []
    spoken_of = set(_WORD.findall(text))
    for function in reversed(list(_FUNCTION.finditer(library))):
        kept.append(library[function.end() : end])
        spoken_of.update(_WORD.findall(kept[-1]))
        end = function.start()
        if function[1] in spoken_of:
            kept.append(function[0])
            spoken_of.update(_WORD.findall(function[0]))
    return "".join(reversed([*kept, library[:end]]))


NAMES: Final = tuple(
    sorted(
        entry.name.removesuffix(".lua")
        for entry in _FOLDER.iterdir()
        if entry.name.endswith(".lua") and not entry.name.startswith("_")
    )
)
"""Every script."""
