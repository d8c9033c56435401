"""`api`: the HTTP service of an application, until it is told to stop."""

from __future__ import annotations

import logging
from typing import Any, Final

import click
from setproctitle import setproctitle

from taskrunner import log
from taskrunner.access import KeyStore
from taskrunner.access.setup import check_open
from taskrunner.app import App
from taskrunner.cli import interrupts
from taskrunner.cli.connect import broker_options, not_shared, ping, settle
from taskrunner.cli.output import complain
from taskrunner.errors import ConfigError

# Each is a setting, and judged with all the others.
_SETTINGS: Final = (
    (
        "--tls-cert",
        "tls_cert_file",
        "FILE",
        "Speak TLS with this certificate (PEM, with its chain).",
    ),
    ("--tls-key", "tls_key_file", "FILE", "Its key, where that is in a file of its own."),
    ("--tls-minimum", "tls_minimum", "VERSION", "1.2 or 1.3. [default: 1.2]"),
    (
        "--tls-client-ca",
        "tls_client_ca_file",
        "FILE",
        "Clients need a certificate by one of these.",
    ),
    ("--tls-clients", "tls_clients_file", "FILE", "Whom a client's certificate stands for."),
    ("--audit-file", "audit_file", "FILE", "Write changes down there. [default: in the log]"),
    ("--shutdown-timeout", "shutdown_timeout_s", "SECONDS", "For requests to end in."),
    ("--log-level", "log_level", "LEVEL", "debug, info, warning or error."),
    ("--log-format", "log_format", "FORMAT", "text or json."),
)


def _setting_options(command: Any) -> Any:
    for flag, name, metavar, text in reversed(_SETTINGS):
        command = click.option(flag, name, metavar=metavar, help=text)(command)
    return command


@click.command("api")
@click.argument("target", metavar="APP")
@click.option("--host", default="127.0.0.1", help="Where it listens. [default: 127.0.0.1]")
@click.option(
    "--port", type=click.IntRange(0, 65_535), default=8000, help="0: any. [default: 8000]"
)
@click.option(
    "--insecure-no-auth", is_flag=True, help="Ask nobody who they are; on a loopback address only."
)
@broker_options
@_setting_options
def api(target: str, host: str, port: int, insecure_no_auth: bool, **arguments: Any) -> None:
    """Serve APP over HTTP: submit jobs, see what became of them, and run the place.

    Who asks needs an API key, made by `taskrunner keys create APP --scope …`, or what else the settings
    say.
    """
    if insecure_no_auth:
        check_open(host)
    # Takes a moment to import, and says itself what is not installed.
    from taskrunner.api import create_api, transport

    app = settle(target, arguments)
    try:
        if not app.broker.capabilities.shared:
            raise ConfigError([not_shared(app.config)])
        service = create_api(app, insecure_no_auth=insecure_no_auth)
        running = transport.server(service, config=app.config)
        ping(app)
        with transport.listen(host, port) as listening:
            interrupts.check()
            # Also takes the command line and the environment out of everybody's sight: there may be a
            # password in them.
            setproctitle(f"taskrunner: api [{target}]")
            restore = _log(app)
            try:
                _announce(app, transport.url_of(listening, app.config), insecure_no_auth)
                running.run(sockets=[listening])
            finally:
                restore()
    finally:
        app.close()


def _log(app: App) -> Any:
    """Let the server write its log as ours."""
    restore = log.configure(app.config.log_level, app.config.log_format)
    server = logging.getLogger("uvicorn")
    server.handlers = list(log.LOGGER.handlers)
    server.propagate = False
    server.setLevel(logging.WARNING)
    return restore


def _announce(app: App, url: str, insecure_no_auth: bool) -> None:
    complain(f"taskrunner: listening on {url}")
    if insecure_no_auth:
        complain("taskrunner: nobody is asked who they are: whoever reaches this may do everything")
        return
    others = (app.config.jwt_keys_file, app.config.tls_clients_file)
    if not any(others) and not any(True for _ in KeyStore(app.broker).all()):
        complain(
            "taskrunner: there is no API key yet, so nobody will be let in: make one with"
            " taskrunner keys create APP --scope SCOPE"
        )
