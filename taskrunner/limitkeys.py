"""Keys by which jobs are counted: text, or text made from the arguments of each job.

"stripe"                       the same for all jobs
"customer-{customer_id}"       with arguments of the task, by their names
lambda customer_id, **_: …     a function of the task's arguments
"""

from __future__ import annotations

import inspect
import string
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol, TypeAlias

from taskrunner.errors import OptionError
from taskrunner.limits import OwnLimits, Rate, key

KeySource: TypeAlias = str | int | float | Callable[..., str | int | float]
"""What a key option takes."""

_FORMATTER: Final = string.Formatter()


@dataclass(frozen=True, slots=True)
class Template:
    """Text with arguments in it."""

    text: str
    names: tuple[str, ...]


Source: TypeAlias = str | Template | Callable[..., Any]
"""A key, or where it comes from."""


def source(option: str, value: object) -> Source:
    """Read a key option. Raises OptionError, naming it."""
    if callable(value):
        return value
    if isinstance(value, str) and ("{" in value or "}" in value):
        return _template(option, value)
    return key(value, option)


def _template(option: str, text: str) -> Source:
    try:
        fields = [name for _, name, _, _ in _FORMATTER.parse(text) if name is not None]
    except ValueError as error:
        raise OptionError(f"{option}={text!r}: {error}") from error
    names = tuple(name.split(".")[0].split("[")[0] for name in fields)
    if not all(name.isidentifier() for name in names):
        raise OptionError(
            f"{option}={text!r}: expected names of the task's arguments in the braces, such as"
            ' "customer-{customer_id}"'
        )
    return Template(text, names) if names else key(text.format(), option)


class TakesArguments(Protocol):
    """The signature of a task."""

    @property
    def signature(self) -> inspect.Signature: ...


@dataclass(frozen=True, slots=True)
class Keys:
    """The limits of a submission, of which keys may differ from job to job."""

    rate: Rate | None
    rate_key: Source | None
    max_running: int | None
    running_key: Source | None
    takes: TakesArguments | None
    """None: the code of the task is not here"""

    def __post_init__(self) -> None:
        for option, wanted in self._sources():
            if isinstance(wanted, str):
                continue
            if self.takes is None:
                raise OptionError(
                    f"{option} is made from the task's arguments, and the code of the task is not"
                    " here to say which they are: give it as text"
                )
            if isinstance(wanted, Template):
                self._check_names(option, wanted, self.takes.signature)

    def _sources(self) -> Iterator[tuple[str, Source]]:
        for option in ("rate_key", "running_key"):
            found = getattr(self, option)
            if found is not None:
                yield option, found

    def _check_names(self, option: str, wanted: Template, signature: inspect.Signature) -> None:
        kinds = {parameter.kind for parameter in signature.parameters.values()}
        if inspect.Parameter.VAR_KEYWORD in kinds:
            return
        for name in wanted.names:
            if name not in signature.parameters:
                known = ", ".join(signature.parameters) or "none"
                raise OptionError(
                    f"{option}={wanted.text!r}: the task has no argument {name!r}; it has: {known}"
                )

    @property
    def are_fixed(self) -> bool:
        """Whether they are the same for all jobs."""
        return all(isinstance(wanted, str) for _, wanted in self._sources())

    def texts(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> tuple[str, ...] | None:
        """The limits of one job, as they travel. Raises OptionError for arguments that make no
        key, and whatever a function of the user's raises."""
        keys = {option: self._key(option, args, kwargs) for option, _ in self._sources()}
        own = OwnLimits(self.rate, keys.get("rate_key"), self.max_running, keys.get("running_key"))
        return own.texts()

    def _key(self, option: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> str:
        wanted = getattr(self, option)
        if isinstance(wanted, str):
            return wanted
        if isinstance(wanted, Template):
            return key(self._filled(option, wanted, args, kwargs), option)
        return key(wanted(*args, **kwargs), option)

    def _filled(
        self, option: str, wanted: Template, args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> str:
        assert self.takes is not None
        bound = self.takes.signature.bind(*args, **kwargs)
        bound.apply_defaults()
        values = {**bound.arguments, **kwargs}
        try:
            for _, name, _, _ in _FORMATTER.parse(wanted.text):
                if name is not None:
                    value, _ = _FORMATTER.get_field(name, (), values)
                    key(value, f"{option}: {{{name}}}")
            return wanted.text.format_map(values)
        except (LookupError, AttributeError, TypeError, ValueError) as error:
            if isinstance(error, OptionError):
                raise
            raise OptionError(f"{option}={wanted.text!r}: {error!r}") from error
