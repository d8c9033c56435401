"""What each setting accepts, and where settings are read from. `config` puts them together.

A setting has one name everywhere, with its unit: `shutdown_timeout_s` in a file and in `App(...)`,
`TASKRUNNER_SHUTDOWN_TIMEOUT_S` in the environment; on the command line it is the option without
the unit, `--shutdown-timeout`.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from taskrunner._kinds import (
    Explained,
    Kind,
    choice,
    decimal,
    keys,
    matching,
    path,
    queues,
    seconds,
    several,
    size,
    whole,
    whole_or_range,
    yes_or_no,
)
from taskrunner.errors import OptionError
from taskrunner.hiding import HIDDEN, hide_password, is_secret
from taskrunner.naming import nearest
from taskrunner.withheld import PREFIX

TEST_PREFIX: Final = f"{PREFIX}TEST_"
COMMAND_LINE: Final = "command line"
CODE: Final = "App(...)"
MOST_PROCESSES: Final = 1024
LARGEST_BYTES: Final = 32 * 1024 * 1024
"""Half of the largest frame that a pipe to a child carries."""

_NAMESPACE: Final = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_SECRET: Final = re.compile(r"[!-~]{32,1024}")
_HOST: Final = re.compile(r"[A-Za-z0-9_.:%-]{1,255}")
_URL: Final = re.compile(r"[a-z][a-z0-9+.-]*://\S*")
_ORIGIN: Final = re.compile(r"https?://[A-Za-z0-9_.:\[\]-]{1,255}")
_NETWORK: Final = re.compile(r"\*|[0-9A-Fa-f.:]{2,45}(?:/[0-9]{1,3})?")
_WORD: Final = re.compile(r"\S{1,1024}")
# Kubernetes sets such variables in every pod for a service that is called taskrunner-something.
_SERVICE_LINK: Final = re.compile(
    r"(.*_)?(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT(_\d+_(TCP|UDP|SCTP)(_\w+)?)?)"
)
_SERVICE_ADDRESS: Final = re.compile(r"(tcp|udp|sctp)://")


_BYTES: Final = whole(1, LARGEST_BYTES)
_BROKER: Final = matching(_URL, "a URL such as redis://localhost:6379/0")

KINDS: Final[Mapping[str, Kind]] = {
    "broker": _BROKER,
    "backend": _BROKER,
    "namespace": matching(_NAMESPACE, "1 to 64 letters, digits and - _ ."),
    "queues": Kind(
        "names with weights from 1 to 1000, each name once, as in critical=6,default=3,low=1"
        " or a,b, or '*' for all",
        queues,
    ),
    "strict": yes_or_no(),
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
    "health_host": matching(_HOST, "an address of this machine, such as 127.0.0.1, 0.0.0.0 or ::"),
    "api_port": whole(0, 65_535, none="none"),
    "api_host": matching(_HOST, "an address of this machine, such as 127.0.0.1, 0.0.0.0 or ::"),
    "api_key_file": path(),
    "api_key_secret": matching(_SECRET, "32 to 1024 printable ASCII characters without spaces"),
    "request_rate": decimal(0.001, 1e6, "requests a second"),
    "request_limit_bytes": whole(1024, 2**30),
    "request_timeout_s": seconds(0.1),
    "body_timeout_s": seconds(0.1),
    "waits_limit": whole(1, 10**6),
    "waits_limit_each": whole(1, 10**6),
    "connections_limit": whole(1, 10**6),
    "cors_origins": several(
        _ORIGIN, "origins such as https://ops.example.com, with commas between"
    ),
    "trusted_proxies": several(_NETWORK, "addresses or networks, with commas between, or '*'"),
    "jwt_keys_file": path(),
    "jwt_issuer": matching(_WORD, "1 to 1024 characters without spaces"),
    "jwt_audience": matching(_WORD, "1 to 1024 characters without spaces"),
    "jwt_leeway_s": seconds(0),
    "tls_cert_file": path(),
    "tls_key_file": path(),
    "tls_client_ca_file": path(),
    "tls_clients_file": path(),
    "tls_minimum": choice("1.2", "1.3"),
    "audit_file": path(),
    "audit_retention_s": seconds(1),
    "audit_max": whole(1, 10**6),
    "durability_timeout_s": seconds(0.001),
    "encryption_keys": keys(),
    "signing_keys": keys(),
    "require_encryption": yes_or_no(),
    "require_signing": yes_or_no(),
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
        option = re.sub("_(s|bytes|file)$", "", name).replace("_", "-")
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
            more = "" if "expected" in str(error) else f": expected {kind.accepts}"
            raise ValueError(f"{where}: {error}{more}") from error
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


def _shown(name: str, raw: Any) -> str:
    if is_secret(name):
        return HIDDEN
    text = hide_password(raw) if isinstance(raw, str) else raw
    shown = repr(text)
    return shown if len(shown) <= 80 else f"{shown[:77]}…"
