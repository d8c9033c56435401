"""The key of a service whose store nobody else can reach: made at its start, and shown once."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from taskrunner.access.keystore import KeyStore, Made
from taskrunner.access.scopes import Scope
from taskrunner.errors import ConfigError


def first_key(store: KeyStore, path: str | None = None) -> Made:
    """Make a key that may do everything. With a path it is written there, for its owner alone to
    read. Raises ConfigError where that cannot be done; then there is no key."""
    made = store.create("made at the start", [Scope.ADMIN])
    if path is not None:
        try:
            _write(Path(path), made.text)
        except OSError as error:
            store.revoke(made.key.id)
            raise ConfigError([f"the file for the API key, {path}: {error.strerror}"]) from error
    return made


def _write(path: Path, text: str) -> None:
    """As a whole, so that nobody reads half a key, and no file with other rights is kept."""
    fresh = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(fd, "w") as file:
            file.write(f"{text}\n")
        os.replace(fresh, path)
    except OSError:
        fresh.unlink(missing_ok=True)
        raise
