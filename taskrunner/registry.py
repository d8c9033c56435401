"""From names to things: URLs to brokers and backends, `module:attribute` to an App.

A broker or backend is looked up by its URL's scheme in three places: registered by hand, built in,
entry points (`taskrunner.brokers`, `taskrunner.backends`).
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.metadata
import operator
import os
import pkgutil
import sys
import traceback
from collections.abc import Callable, Mapping
from importlib.machinery import ModuleSpec
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType, TracebackType
from typing import TYPE_CHECKING, Any, Final

from taskrunner.backends.base import ResultBackend
from taskrunner.brokers.base import Broker, Limits
from taskrunner.errors import AppNotFound, OptionError
from taskrunner.hiding import hide_password
from taskrunner.naming import LOADED_SCRIPT, nearest

if TYPE_CHECKING:
    from taskrunner.app import App

REDIS: Final = (
    *("redis", "rediss", "unix"),
    *("redis+cluster", "rediss+cluster", "redis+sentinel", "rediss+sentinel"),
)
BROKERS: Final[Mapping[str, str]] = {
    "memory": "taskrunner.brokers.memory:MemoryBroker",
    **dict.fromkeys(REDIS, "taskrunner.brokers.redis.broker:RedisBroker"),
}
BACKENDS: Final[Mapping[str, str]] = {
    "memory": "taskrunner.backends.memory:MemoryBackend",
    **dict.fromkeys(REDIS, "taskrunner.backends.redis:RedisBackend"),
}
SUPERVISOR: Final = "taskrunner.supervisor.embedded:running"

_registered_brokers: dict[str, type[Broker]] = {}
_registered_backends: dict[str, type[ResultBackend]] = {}


# -- brokers and backends


def register_broker(scheme: str, kind: type[Broker]) -> None:
    """Answer URLs of this scheme with `kind`, before anything built in or installed."""
    _registered_brokers[scheme] = kind


def register_backend(scheme: str, kind: type[ResultBackend]) -> None:
    """Answer URLs of this scheme with `kind`, before anything built in or installed."""
    _registered_backends[scheme] = kind


def broker_from_url(url: str, *, namespace: str, limits: Limits) -> Broker:
    """The broker that a URL names, not connected yet. Raises OptionError, naming the schemes that
    exist, where there is none."""
    kind = _lookup("broker", url, _registered_brokers, BROKERS)
    return kind.from_url(url, namespace=namespace, limits=limits)  # type: ignore[no-any-return]


def backend_from_url(url: str, *, namespace: str) -> ResultBackend:
    """The result backend that a URL names, not connected yet. Raises OptionError as
    `broker_from_url`."""
    kind = _lookup("backend", url, _registered_backends, BACKENDS)
    return kind.from_url(url, namespace=namespace)  # type: ignore[no-any-return]


def preload(broker: str, backend: str | None) -> None:
    """Import what these URLs name, and open nothing: processes that are forked after this need not
    import it each for itself. What they do not name is passed over."""
    with contextlib.suppress(OptionError):
        _lookup("broker", broker, _registered_brokers, BROKERS)
    with contextlib.suppress(OptionError):
        _lookup("backend", backend or broker, _registered_backends, BACKENDS)


def _lookup(
    what: str, url: str, registered: Mapping[str, type], built_in: Mapping[str, str]
) -> Any:
    scheme = url.partition(":")[0].lower()
    if scheme in registered:
        return registered[scheme]
    if scheme in built_in:
        return load(built_in[scheme])
    installed = importlib.metadata.entry_points(group=f"taskrunner.{what}s")
    for entry in installed:
        if entry.name == scheme:
            return entry.load()
    known = sorted({*registered, *built_in, *(entry.name for entry in installed)})
    got = f"the scheme {scheme!r}" if ":" in url else "no scheme"
    raise OptionError(f"{what} URL {hide_password(url)!r} has {got}; there are: {', '.join(known)}")


def load(name: str) -> Any:
    """What `module:attribute`, a name of taskrunner's own, stands for."""
    module, _, attribute = name.partition(":")
    return getattr(importlib.import_module(module), attribute)


def supervisor_factory() -> Callable[..., Any]:
    """What runs an embedded supervisor. The one place where a lower layer reaches a higher one, by
    name."""
    return load(SUPERVISOR)  # type: ignore[no-any-return]


# -- applications


def load_app(name: str) -> App:
    """The App that `module:attribute` names, found from the current folder.

    Raises AppNotFound saying what is wrong, with the user's own traceback where his module raised.
    """
    module_name, colon, attribute = name.partition(":")
    if not colon or not module_name or not attribute:
        raise AppNotFound(
            f"{name!r} does not name an App: expected module:attribute, such as shop.tasks:app"
        )
    here = os.getcwd()
    if here not in sys.path:
        sys.path.insert(0, here)
    importlib.invalidate_caches()
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
            raise _raised(module_name, error) from error
        raise AppNotFound(_no_module(module_name, error.name)) from error
    except (Exception, SystemExit) as error:
        raise _raised(module_name, error) from error
    return _app_in(module, module_name, attribute)


def load_app_from_path(path: str | os.PathLike[str], attribute: str) -> App:
    """The App in a script, which is run under its own name instead of `__main__`.

    Raises AppNotFound as `load_app`.
    """
    file = Path(path).resolve()
    name = file.stem
    if name in sys.modules and getattr(sys.modules[name], "__file__", None) != str(file):
        name = LOADED_SCRIPT
    if name in sys.modules:
        return _app_in(sys.modules[name], str(path), attribute)
    if str(file.parent) not in sys.path:
        sys.path.insert(0, str(file.parent))
    spec = spec_from_file_location(name, file)
    if spec is None or spec.loader is None or not file.exists():
        raise AppNotFound(f"{path} is not a Python file that can be loaded")
    return _app_in(_executed(spec, str(path)), str(path), attribute)


def _executed(spec: ModuleSpec, shown: str) -> ModuleType:
    module = module_from_spec(spec)
    sys.modules[spec.name] = module
    try:
        spec.loader.exec_module(module)  # type: ignore[union-attr]  # the caller looked
    except (Exception, SystemExit) as error:
        del sys.modules[spec.name]
        raise _raised(shown, error) from error
    return module


def _app_in(module: ModuleType, shown: str, attribute: str) -> App:
    from taskrunner.app import App

    apps = sorted(name for name, value in vars(module).items() if isinstance(value, App))
    others = f"Apps in it: {', '.join(apps)}" if apps else "there is no App in it"
    try:
        found = operator.attrgetter(attribute)(module)
    except AttributeError:
        raise AppNotFound(f"{shown} has no attribute {attribute!r}; {others}") from None
    if not isinstance(found, App):
        raise AppNotFound(
            f"{shown}:{attribute} is not an App but of type {type(found).__name__}; {others}"
        )
    return found


def _no_module(wanted: str, missing: str) -> str:
    parent, _, name = missing.rpartition(".")
    paths = getattr(sys.modules.get(parent), "__path__", []) if parent else [os.getcwd()]
    known = {found.name for found in pkgutil.iter_modules(paths)}
    where = f"the package {parent}" if parent else f"the current folder {os.getcwd()}"
    told = nearest(name, known) if known else "it holds no modules"
    shown = f"{wanted!r}" if wanted == missing else f"{missing!r} (of {wanted!r})"
    return f"there is no module {shown}, seen from {where}: {told}"


def _raised(shown: str, error: BaseException) -> AppNotFound:
    own = error.with_traceback(_users_part(error.__traceback__))
    lines = traceback.format_exception(own)
    return AppNotFound(
        f"importing {shown} raised {type(error).__name__}: {error}", user_traceback="".join(lines)
    )


def _users_part(found: TracebackType | None) -> TracebackType | None:
    """A traceback without the leading frames of taskrunner and of the import machinery."""
    own = str(Path(__file__).parent) + os.sep
    while found is not None:
        file = found.tb_frame.f_code.co_filename
        if not file.startswith((own, "<frozen importlib")) and not file.endswith(
            os.path.join("importlib", "__init__.py")
        ):
            return found
        found = found.tb_next
    return None
