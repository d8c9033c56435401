"""A guard as the settings want it."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterable
from functools import partial
from typing import TypeAlias

from taskrunner.access.audit import Auditor, Lines, Trail
from taskrunner.access.certificates import Certificates
from taskrunner.access.door import Door
from taskrunner.access.guard import Application, Guard
from taskrunner.access.keyfile import KeyFile
from taskrunner.access.keyring import KeyRing
from taskrunner.access.keystore import KeyStore
from taskrunner.access.rules import Rules
from taskrunner.access.tokens import TokenRules, Tokens
from taskrunner.brokers.base import BrokerClient
from taskrunner.clock import SYSTEM_CLOCK, Clock
from taskrunner.config import Config
from taskrunner.errors import ConfigError

MakesGuard: TypeAlias = Callable[[Application], Guard]


def guard(
    config: Config,
    broker: BrokerClient,
    *,
    public: Iterable[str] = (),
    insecure_no_auth: bool = False,
    clock: Clock = SYSTEM_CLOCK,
) -> MakesGuard:
    """What puts a guard in front of a service. `public` are paths that anybody may ask for. With
    `insecure_no_auth` nobody is asked who they are, and only requests for this very machine are taken.
    Raises ConfigError with all that is wrong."""
    problems = problems_of(config)
    if problems:
        raise ConfigError(problems)
    return partial(
        Guard,
        door=None if insecure_no_auth else door(config, broker, clock=clock),
        auditor=Auditor(Lines(config.audit_file), trail(config, broker)),
        rules=rules(config, public),
        clock=clock,
    )


def door(config: Config, broker: BrokerClient, *, clock: Clock = SYSTEM_CLOCK) -> Door:
    """Where callers are recognised. Raises ConfigError."""
    tokens = None
    if config.jwt_keys_file is not None:
        keys = KeyFile(config.jwt_keys_file, clock=clock)
        known = TokenRules(
            issuer=config.jwt_issuer or "",
            audience=config.jwt_audience or "",
            leeway=config.jwt_leeway_s,
        )
        tokens = Tokens(keys, known)
    clients = config.tls_clients_file
    return Door(
        KeyRing(KeyStore(broker, pepper=config.api_key_secret), clock=clock),
        tokens=tokens,
        certificates=None if clients is None else Certificates.read(clients),
        clock=clock,
    )


def trail(config: Config, broker: BrokerClient) -> Trail:
    """What the store remembers of changes."""
    return Trail(broker, retention=config.audit_retention_s, most=config.audit_max)


def rules(config: Config, public: Iterable[str]) -> Rules:
    """How much may be asked."""
    return Rules(
        request_rate=config.request_rate,
        request_limit_bytes=config.request_limit_bytes,
        request_timeout_s=config.request_timeout_s,
        body_timeout_s=config.body_timeout_s,
        waits=config.waits_limit,
        waits_each=config.waits_limit_each,
        origins=config.cors_origins,
        public=frozenset(public),
    )


def problems_of(config: Config) -> list[str]:
    """Settings that do not go together, one sentence each."""
    needs = (
        ("jwt_keys_file", "jwt_issuer"),
        ("jwt_keys_file", "jwt_audience"),
        ("jwt_issuer", "jwt_keys_file"),
        ("jwt_audience", "jwt_keys_file"),
        ("tls_key_file", "tls_cert_file"),
        ("tls_client_ca_file", "tls_cert_file"),
        ("tls_clients_file", "tls_client_ca_file"),
    )
    return [
        f"{one} (from {config.source(one)}) needs {other} beside it"
        for one, other in needs
        if getattr(config, one) is not None and getattr(config, other) is None
    ]


def check_open(host: str) -> None:
    """Whether a service that asks nobody who they are may listen at this address. Raises ConfigError
    for every one that other machines might reach."""
    if host == "localhost":
        return
    try:
        is_own = ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        is_own = False
    if not is_own:
        problem = (
            "--insecure-no-auth lets everybody do everything, so it is for this machine alone: not"
            f" with --host {host}, but with 127.0.0.1, ::1 or localhost"
        )
        raise ConfigError([problem])
