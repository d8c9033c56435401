"""Where somebody is recognised: by an API key, a token or a client certificate.

    Authorization: Bearer trk_… │ X-API-Key: trk_… ─▶ keyring
    Authorization: Bearer ey…                      ─▶ tokens
    neither, but a certificate                     ─▶ certificates

Whoever guesses is slowed down: after `FAILURES_AT_ONCE` failed attempts an address is told to wait, and
nothing is looked up for it any more. Who is right without a look is let in all the same, and so is a
key that was right before: its owner may share the address with whoever guesses.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from taskrunner.access.buckets import Buckets, network_of
from taskrunner.access.certificates import Certificate, Certificates
from taskrunner.access.identity import Identity
from taskrunner.access.keyring import KeyRing
from taskrunner.access.keys import PREFIX
from taskrunner.access.tokens import Tokens
from taskrunner.clock import SYSTEM_CLOCK, Clock
from taskrunner.errors import NotAuthenticated, TooManyRequests

FAILURES_A_SECOND: Final = 1 / 3
FAILURES_AT_ONCE: Final = 20


@dataclass(frozen=True, slots=True)
class Credentials:
    """What somebody shows for one request."""

    bearer: str = field(default="", repr=False)
    certificate: Certificate | None = None
    address: str = ""

    @classmethod
    def of(
        cls,
        headers: Iterable[tuple[bytes, bytes]],
        *,
        certificate: Certificate | None = None,
        address: str = "",
    ) -> Credentials:
        """What the headers of a request show. Raises NotAuthenticated for two at once, and for ways
        of showing them that nobody here knows."""
        shown = []
        for name, value in headers:
            if name.lower() == b"x-api-key":
                shown.append(value.decode("latin-1").strip())
            elif name.lower() == b"authorization":
                scheme, _, rest = value.decode("latin-1").strip().partition(" ")
                if scheme.lower() != "bearer":
                    raise NotAuthenticated(
                        "expected Authorization: Bearer, with an API key or a token"
                    )
                shown.append(rest.strip())
        if len(shown) > 1:
            raise NotAuthenticated("expected one credential, and there are several")
        return cls(shown[0] if shown else "", certificate, address)


class Door:
    """Recognises somebody by what is shown. Thread-safe."""

    def __init__(
        self,
        ring: KeyRing,
        *,
        tokens: Tokens | None = None,
        certificates: Certificates | None = None,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self._ring = ring
        self._tokens = tokens
        self._certificates = certificates
        self._failures = Buckets(FAILURES_A_SECOND, FAILURES_AT_ONCE, clock=clock)

    def quick(self, shown: Credentials) -> Identity | None:
        """Who this is, without asking anybody; None: `look` has to say. Raises NotAuthenticated,
        TooManyRequests."""
        try:
            if shown.bearer.startswith(PREFIX):
                return self._ring.quick(shown.bearer)
            return self._other(shown)
        except NotAuthenticated as error:
            raise self._failed(shown, str(error)) from error

    def _other(self, shown: Credentials) -> Identity:
        if shown.bearer:
            if self._tokens is None:
                raise NotAuthenticated("this is no API key, and tokens are not accepted here")
            return self._tokens.identify(shown.bearer)
        if shown.certificate is not None and self._certificates is not None:
            return self._certificates.identify(shown.certificate)
        raise NotAuthenticated("expected Authorization: Bearer, with an API key or a token")

    def look(self, shown: Credentials) -> Identity:
        """Whose API key this is, by what the store says now. Raises NotAuthenticated,
        TooManyRequests, BrokerUnavailable."""
        wait = self._failures.wait_for(network_of(shown.address))
        if wait > 0 and not self._ring.recognises(shown.bearer):
            raise _slow_down(wait)
        try:
            return self._ring.look(shown.bearer)
        except NotAuthenticated as error:
            raise self._failed(shown, str(error)) from error

    def _failed(self, shown: Credentials, why: str) -> NotAuthenticated | TooManyRequests:
        """Count a failed attempt. One where nothing was shown is no guess, and costs nothing."""
        if not shown.bearer:
            return NotAuthenticated(why)
        network = network_of(shown.address)
        wait = self._failures.wait_for(network)
        if wait > 0:
            return _slow_down(wait)  # and no longer for each further attempt
        self._failures.spend(network)
        return NotAuthenticated(why)


def _slow_down(wait: float) -> TooManyRequests:
    return TooManyRequests("too many attempts failed from this address", retry_after=wait)
