"""`new-key`: a key for `encryption_keys` or `signing_keys`."""

from __future__ import annotations

import os
from pathlib import Path

import click

from taskrunner.cli.output import say
from taskrunner.crypto import FILE, Key
from taskrunner.errors import OptionError


@click.command("new-key")
@click.option(
    "--id",
    "name",
    metavar="ID",
    default="",
    help="What the key is called, in the store, too. [default: made from the secret]",
)
@click.option(
    "--file",
    "path",
    metavar="PATH",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write it into a new file that only its owner can read, and print how to name that.",
)
def new_key(name: str, path: Path | None) -> None:
    """Make a random key and print it as ID:SECRET; it is kept nowhere else."""
    try:
        key = Key.new(name)
    except ValueError as error:
        raise OptionError(f"--id={name}: {error}") from error
    if path is None:
        say(key.text)
        return
    _write(path, key.text)
    say(f"{FILE}{path.absolute()}")


def _write(path: Path, text: str) -> None:
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        raise OptionError(f"--file={path}: {error.strerror}") from error
    with open(fd, "w", encoding="utf-8") as file:
        file.write(f"{text}\n")
