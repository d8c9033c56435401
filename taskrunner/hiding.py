"""What must be shown to nobody, taken out of what is shown."""

from __future__ import annotations

import re
from typing import Final

HIDDEN: Final = "***"
_SECRET_NAME: Final = re.compile(r"(?:secret|key|token|pass)(?!.*_file$)", re.IGNORECASE)
_QUERY_SECRET: Final = re.compile(r"([?&][^=&\s]*(?:pass|secret|token)[^=&\s]*=)[^&\s]*", re.I)
_USER_SECRET: Final = re.compile(r"^((?:[^/\s]*//)?(?!/)[^:/\s]*:)(?!//)\S*@")
_ANY_URL: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^\s'\"<>]+")


def hide_password(url: str) -> str:
    """The URL with its password, or what may be one, replaced by `***`.

    In a URL whose password holds characters that should have been quoted, rather too much is
    hidden than too little.
    """
    return _USER_SECRET.sub(r"\1***@", _QUERY_SECRET.sub(r"\1***", url))


def hide_passwords(text: str) -> str:
    """A text with the password of every URL in it hidden."""
    return _ANY_URL.sub(lambda found: hide_password(found[0]), text) if "://" in text else text


def is_secret(name: str) -> bool:
    """Whether the value of a setting, or of a variable, with this name is a secret: by the name
    alone, so that a misspelt one is hidden, too. Where a secret can be found is none itself."""
    return _SECRET_NAME.search(name) is not None


__all__ = ["HIDDEN", "hide_password", "hide_passwords", "is_secret"]
