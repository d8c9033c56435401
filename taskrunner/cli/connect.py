"""Which App and which settings a command works with: the options that say so, and what they mean.

Commands that look at jobs need no application: a broker's URL is enough, from `--broker`, from
`TASKRUNNER_BROKER` or from a file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar

import click

from taskrunner.app import App
from taskrunner.cli import interrupts
from taskrunner.config import Config
from taskrunner.errors import ConfigError, OptionError
from taskrunner.registry import load_app

F = TypeVar("F", bound=Callable[..., Any])


def broker_options(command: F) -> F:
    """`--broker` and `--namespace`, which every command has."""
    command = click.option(
        "--namespace",
        metavar="NAME",
        help="Keeps apart what shares a broker. [default: taskrunner]",
    )(command)
    return click.option(
        "--broker", metavar="URL", help="Where the jobs are, such as redis://localhost:6379/0."
    )(command)


def app_option(command: F) -> F:
    """`--app`, for commands that can do without one."""
    return click.option(
        "--app",
        "target",
        metavar="MODULE:ATTRIBUTE",
        help="Take broker, namespace and encoders from this App.",
    )(command)


def json_option(command: F) -> F:
    """`--json`."""
    return click.option("--json", "wants_json", is_flag=True, help="Print one JSON document.")(
        command
    )


def settle(target: str | None, arguments: Mapping[str, Any]) -> App:
    """The App that `target` names, or one of nothing but settings, with the command line's
    arguments put over its own.

    Raises AppNotFound, and ConfigError with all mistakes, also for a URL that no broker answers to.
    """
    app = App() if target is None else load_app(target)
    interrupts.check()
    app.adopt(Config.load(arguments=arguments, code=app.settings))
    for thing in ("broker", "backend"):
        try:
            getattr(app, thing)
        except OptionError as error:
            raise ConfigError([f"{thing} (from {app.config.source(thing)}): {error}"]) from error
    app.seals  # noqa: B018  raises where a library is missing, or keys for what is required
    if app.broker.capabilities.shared and app.backend is not None and not app.backend.shared:
        raise ConfigError([_not_readable(app.config)])
    return app


@contextmanager
def connected(target: str | None, **arguments: Any) -> Iterator[App]:
    """An App whose broker answers, and which other processes share. Closed at the end.

    Raises as `settle`, ConfigError for a broker that lives in one process, BrokerUnavailable.
    """
    app = settle(target, arguments)
    if not app.broker.capabilities.shared:
        raise ConfigError([not_shared(app.config)])
    try:
        # Asked first, so that a wrong address is an answer now and not an outage to ride out.
        ping(app)
        yield app
    finally:
        app.close()


def ping(app: App) -> None:
    """Raises BrokerUnavailable where the broker or the result backend does not answer."""
    app.broker.ping()
    if app.backend is not None:
        app.backend.ping()


def _not_readable(config: Config) -> str:
    return (
        f"the result backend {config.shown('backend')} (from {config.source('backend')}) lives"
        " inside one process, and no other could read the results in it: use one that is shared,"
        " or none, and the broker keeps results itself"
    )


def not_shared(config: Config) -> str:
    """Why a command has nothing to talk to."""
    return (
        f"the broker {config.shown('broker')} (from {config.source('broker')}) lives inside one"
        " process, and no other can see its jobs: name one that is shared, for example with"
        " --broker redis://localhost:6379/0 or TASKRUNNER_BROKER"
    )
