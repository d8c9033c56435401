"""What each setting accepts, and where settings are read from. `config` puts them together.

A setting has one name everywhere, with its unit: `shutdown_timeout_s` in a file and in `App(...)`,
`TASKRUNNER_SHUTDOWN_TIMEOUT_S` in the environment; on the command line it is the option without
the unit, `--shutdown-timeout`.
"""

from __future__ import annotations

import math
import re
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from taskrunner.crypto import ACCEPTED, keys_of
from taskrunner.errors import OptionError
from taskrunner.hiding import HIDDEN, hide_password, is_secret
from taskrunner.message import LONGEST
from taskrunner.naming import nearest
from taskrunner.options import validate_queue_name

PREFIX: Final = "TASKRUNNER_"
TEST_PREFIX: Final = "TASKRUNNER_TEST_"
COMMAND_LINE: Final = "command line"
CODE: Final = "App(...)"
SERVICE_ONLY: Final = frozenset({"api_key_secret"})
"""Secrets that no process which runs tasks needs, nor gets."""
MOST_PROCESSES: Final = 1024
LARGEST_BYTES: Final = 32 * 1024 * 1024
"""Half of the largest frame that a pipe to a child carries."""

_SIZE: Final = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*(?:([KMGT])(i)?)?B?", re.IGNORECASE)
_NAMESPACE: Final = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_SECRET: Final = re.compile(r"[!-~]{32,1024}")
_HOST: Final = re.compile(r"[A-Za-z0-9_.:%-]{1,255}")
_URL: Final = re.compile(r"[a-z][a-z0-9+.-]*://\S*")
# Kubernetes sets such variables in every pod for a service that is called taskrunner-something.
_SERVICE_LINK: Final = re.compile(
    r"(.*_)?(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT(_\d+_(TCP|UDP|SCTP)(_\w+)?)?)"
)
_SERVICE_ADDRESS: Final = re.compile(r"(tcp|udp|sctp)://")


class Explained(ValueError):
    """A value that is not accepted, for a reason that is worth more than what would be."""


@dataclass(frozen=True, slots=True)
class Kind:
    """What a setting accepts: in words, and as a test."""

    accepts: str
    check: Callable[[Any], Any]
    """the value as the Config keeps it; raises ValueError or TypeError for one not accepted"""
    parse: Callable[[str], Any] = str
    """text, from the environment or the command line, to what `check` takes; raises ValueError"""


def whole(lowest: int, highest: int, *, none: str | None = None) -> Kind:
    """A whole number; `none` is the word that stands for None."""

    def check(value: Any) -> int | None:
        if none is not None and value == none:
            return None
        if isinstance(value, bool) or not isinstance(value, int) or not lowest <= value <= highest:
            raise ValueError
        return value

    words = f"a whole number from {lowest} to {highest}"
    return Kind(f"{words}, or {none!r}" if none else words, check, _or_word(int, none))


def whole_or_range(lowest: int, highest: int) -> Kind:
    """A whole number, or text such as `2..16`, which stays text."""
    one = whole(lowest, highest)

    def check(value: Any) -> int | str:
        if not isinstance(value, str):
            return int(one.check(value))
        low, high = (one.check(int(part)) for part in value.split(".."))
        if low > high:
            raise ValueError
        return f"{low}..{high}"

    return Kind(f"{one.accepts}, or a range such as 2..16", check, _number_if_it_is_one)


def _number_if_it_is_one(text: str) -> int | str:
    return int(text) if text.isdecimal() else text


def seconds(lowest: float, *, none: str | None = None) -> Kind:
    """A number of seconds, fractions included; `none` is the word that stands for None."""

    def check(value: Any) -> float | None:
        if none is not None and value == none:
            return None
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise TypeError
        if not math.isfinite(value) or not lowest <= value <= LONGEST:
            raise ValueError
        return float(value)

    words = f"seconds (fractions count), {lowest:g} or more"
    return Kind(f"{words}, or {none!r}" if none else words, check, _or_word(float, none))


def size(lowest: int, *, none: str) -> Kind:
    """A number of bytes, or text such as `512MiB`; `none` is the word that stands for None."""

    def check(value: Any) -> int | None:
        if value == none:
            return None
        found = _bytes_of(value) if isinstance(value, str) else value
        if isinstance(found, bool) or not isinstance(found, int) or not lowest <= found <= 2**60:
            raise ValueError
        return found

    return Kind(f"bytes, at least {lowest}, or a size such as 512MiB or 2GB, or {none!r}", check)


def _bytes_of(text: str) -> int:
    found = _SIZE.fullmatch(text.strip())
    if found is None:
        raise ValueError
    number, prefix, binary = found.groups()
    power = " KMGT".index((prefix or " ").upper())
    return round(float(number) * float(1024 if binary else 1000) ** power)


def _or_word(parse: Callable[[str], Any], word: str | None) -> Callable[[str], Any]:
    return lambda text: text if text == word else parse(text)


def choice(*values: str) -> Kind:
    """One of a few words, in any case."""

    def check(value: Any) -> str:
        if not isinstance(value, str) or value.lower() not in values:
            raise ValueError
        return value.lower()

    return Kind("one of " + ", ".join(values), check)


def _yes_or_no() -> Kind:
    words = {"true": True, "yes": True, "on": True, "1": True}
    words |= {"false": False, "no": False, "off": False, "0": False}

    def parse(text: str) -> bool:
        if text.lower() not in words:
            raise ValueError
        return words[text.lower()]

    def check(value: Any) -> bool:
        if not isinstance(value, bool):
            raise TypeError
        return value

    return Kind("true or false", check, parse)


def _keys() -> Kind:
    def check(value: Any) -> tuple[str, ...]:
        try:
            return keys_of(value)
        except ValueError as error:
            raise Explained(str(error)) from error

    return Kind(ACCEPTED, check)


def _matching(pattern: re.Pattern[str], accepts: str) -> Kind:
    def check(value: Any) -> str:
        if not isinstance(value, str) or not pattern.fullmatch(value):
            raise ValueError
        return value

    return Kind(accepts, check)


def _queues(value: Any) -> tuple[tuple[str, int], ...] | None:
    """Names and weights, from `a=2,b`, a list of names, a list of pairs or a table."""
    if value == "*":
        return None
    if isinstance(value, str):
        pairs = [_pair(part.strip()) for part in value.split(",") if part.strip()]
    elif isinstance(value, Mapping):
        pairs = list(value.items())
    elif isinstance(value, (list, tuple)):
        pairs = [_pair(part) if isinstance(part, str) else tuple(part) for part in value]
    else:
        raise TypeError
    found = tuple((validate_queue_name(name), _WEIGHT.check(weight)) for name, weight in pairs)
    if not found or len({name for name, _ in found}) < len(found):
        raise ValueError
    return found


def _pair(text: str) -> tuple[str, int]:
    name, sign, weight = text.partition("=")
    return name.strip(), int(weight) if sign else 1


_WEIGHT: Final = whole(1, 1000)
_BYTES: Final = whole(1, LARGEST_BYTES)
_BROKER: Final = _matching(_URL, "a URL such as redis://localhost:6379/0")

KINDS: Final[Mapping[str, Kind]] = {
    "broker": _BROKER,
    "backend": _BROKER,
    "namespace": _matching(_NAMESPACE, "1 to 64 letters, digits and - _ ."),
    "queues": Kind(
        "names with weights from 1 to 1000, each name once, as in critical=6,default=3,low=1"
        " or a,b, or '*' for all",
        _queues,
    ),
    "strict": _yes_or_no(),
    "processes": whole_or_range(1, MOST_PROCESSES),
    "grow_after_s": seconds(0),
    "shrink_after_s": seconds(0),
    "concurrency": whole(1, 10_000),
    "prefetch": whole(0, 100_000, none="auto"),
    "prefetch_limit_bytes": _BYTES,
    "max_jobs": whole(1, 2**31 - 1, none="none"),
    "max_memory_bytes": size(2**20, none="none"),
    "timeout_s": seconds(0.001, none="none"),
    "retries": whole(0, 2**31 - 1),
    "max_crashes": whole(1, 2**31 - 1),
    "retention_s": seconds(0),
    "failed_retention_s": seconds(0),
    "failed_max": whole(0, 2**31 - 1),
    "unknown_task_ttl_s": seconds(0),
    "payload_limit_bytes": _BYTES,
    "result_limit_bytes": _BYTES,
    "traceback_limit_bytes": whole(0, 1024 * 1024),
    "shutdown_timeout_s": seconds(0),
    "grace_s": seconds(0),
    "silence_stopped_s": seconds(3),
    "silence_blocked_s": seconds(3),
    "silence_busy_s": seconds(3),
    "lease_s": seconds(0.1),
    "start_timeout_s": seconds(0.1),
    "idle_look_s": seconds(0.1),
    "outcomes_limit": whole(1, 2**31 - 1),
    "health_port": whole(0, 65_535, none="none"),
    "health_host": _matching(_HOST, "an address of this machine, such as 127.0.0.1, 0.0.0.0 or ::"),
    "api_key_secret": _matching(_SECRET, "32 to 1024 printable ASCII characters without spaces"),
    "durability_timeout_s": seconds(0.001),
    "encryption_keys": _keys(),
    "signing_keys": _keys(),
    "require_encryption": _yes_or_no(),
    "require_signing": _yes_or_no(),
    "log_level": choice("debug", "info", "warning", "error"),
    "log_format": choice("text", "json"),
}


@dataclass(frozen=True, slots=True)
class Source:
    """Where settings were found. The templates know `{name}`, `{upper}`, `{option}`, `{got}`."""

    label: str
    """how `Config.sources` names it"""
    mistake: str
    """how a message writes a setting and the value it got here"""
    values: Mapping[str, Any]
    is_text: bool = False
    """values that are text are parsed"""
    hint: Callable[[str], str] = lambda name: nearest(name, KINDS)

    def fill(self, template: str, name: str, got: str = "") -> str:
        option = re.sub("_(s|bytes)$", "", name).replace("_", "-")
        return template.format(name=name, upper=name.upper(), option=option, got=got)

    def read(self, name: str, raw: Any) -> Any:
        """The value of one setting. Raises ValueError with a whole sentence."""
        kind = KINDS.get(name)
        if kind is None:
            where = self.fill(self.mistake, name, _shown(name, raw))
            raise ValueError(f"{where}: there is no such setting; {self.hint(name)}")
        try:
            parsed = kind.parse(raw.strip()) if self.is_text and isinstance(raw, str) else raw
            return kind.check(parsed)
        except Explained as error:
            where = self.fill(self.mistake, name, _shown(name, raw))
            raise ValueError(f"{where}: {error}: expected {kind.accepts}") from error
        except (ValueError, TypeError, OptionError) as error:
            where = self.fill(self.mistake, name, _shown(name, raw))
            raise ValueError(f"{where}: expected {kind.accepts}") from error


def command_line(arguments: Mapping[str, Any]) -> Source:
    """Options, as text or as values; None: not given."""
    return Source(COMMAND_LINE, "--{option}={got}", _given(arguments), is_text=True)


def code(settings: Mapping[str, Any]) -> Source:
    """What was given to `App(...)`; None: not given."""
    return Source(CODE, "App({name}={got})", _given(settings))


def _given(settings: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in settings.items() if value is not None}


def environment(environ: Mapping[str, str]) -> Source:
    """`TASKRUNNER_*`, without what is empty, what is for tests and what Kubernetes puts there."""
    found = {
        variable.removeprefix(PREFIX).lower(): value
        for variable, value in environ.items()
        if variable.startswith(PREFIX) and value.strip() and not _is_foreign(variable, value)
    }
    variable = PREFIX + "{upper}"
    return Source(variable, variable + "={got}", found, True, _nearest_variable)


def _nearest_variable(name: str) -> str:
    clause = nearest(name.upper(), [known.upper() for known in KINDS])
    return re.sub(r"\b[A-Z_]{4,}", lambda found: PREFIX + found[0], clause)


def _is_foreign(variable: str, value: str) -> bool:
    name = variable.removeprefix(PREFIX)
    # A service that is called taskrunner-health gives even a setting's name to an address.
    is_ours = name.lower() in KINDS and not _SERVICE_ADDRESS.match(value)
    link = not is_ours and _SERVICE_LINK.fullmatch(name)
    return variable.startswith(TEST_PREFIX) or bool(link)


def file(folder: Path, problems: list[str]) -> Source:
    """`taskrunner.toml` or `[tool.taskrunner]` of `pyproject.toml`; adds to `problems` what is
    wrong with the files themselves."""
    found = [source for source in _files(folder, problems) if source.values]
    if len(found) > 1:
        problems.append(
            f"both taskrunner.toml and [tool.taskrunner] in pyproject.toml have settings in"
            f" {folder}: keep one of them"
        )
    return found[0] if found else Source("default", "{name}={got}", {})


def _files(folder: Path, problems: list[str]) -> Iterator[Source]:
    own = _toml(folder / "taskrunner.toml", problems)
    yield Source("taskrunner.toml", "taskrunner.toml: {name}={got}", own)
    tool = _toml(folder / "pyproject.toml", problems).get("tool", {})
    table = tool.get("taskrunner", {}) if isinstance(tool, dict) else {}
    if not isinstance(table, dict):
        problems.append(f"pyproject.toml: tool.taskrunner={table!r}: expected a table of settings")
        table = {}
    yield Source("pyproject.toml", "pyproject.toml: {name}={got}", table)


def _toml(path: Path, problems: list[str]) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        problems.append(f"{path.name} cannot be read: {error}")
        return {}


def for_tasks(environ: Mapping[str, str]) -> dict[str, str]:
    """An environment as processes that run tasks may have it."""
    secret = {PREFIX + name.upper() for name in SERVICE_ONLY}
    return {name: value for name, value in environ.items() if name not in secret}


def _shown(name: str, raw: Any) -> str:
    if is_secret(name):
        return HIDDEN
    text = hide_password(raw) if isinstance(raw, str) else raw
    shown = repr(text)
    return shown if len(shown) <= 80 else f"{shown[:77]}…"
