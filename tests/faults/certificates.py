"""Certificates for tests."""

from __future__ import annotations

from pathlib import Path

import trustme

from taskrunner.testing.redis_server import Tls


def make_tls(folder: Path, *names: str) -> Tls:
    """A certificate for these names, and the authority that vouches for it."""
    authority = trustme.CA()
    certificate = authority.issue_cert(*names)
    paths = Tls(cert=folder / "cert.pem", key=folder / "key.pem", ca=folder / "ca.pem")
    certificate.private_key_pem.write_to_path(str(paths.key))
    for n, part in enumerate(certificate.cert_chain_pems):
        part.write_to_path(str(paths.cert), append=n > 0)
    authority.cert_pem.write_to_path(str(paths.ca))
    return paths
