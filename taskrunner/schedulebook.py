"""`app.schedules`: the schedules of a namespace, as users work with them.

    declared in code   @app.cron, and add(...) while a module is imported
                       └▶ only noted here; the nodes that run this code put them into effect
    made at run time   add(...) anywhere else
                       └▶ into the store at once, and into effect on all nodes within a second

Every method that asks the store has a twin for asyncio, its name with an `a` before it.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Unpack

from taskrunner.brokers.base import Tick, TickKind
from taskrunner.declaring import call_of
from taskrunner.errors import BrokerFull, CryptoError, DeclarationError, OptionError
from taskrunner.job import Job
from taskrunner.message import REPLACE
from taskrunner.scheduleinfo import ScheduleInfo
from taskrunner.schedules import RuleArguments, Schedule, check_name, rule_of, split
from taskrunner.schedulestore import Stored, missing
from taskrunner.scheduleviews import ScheduleViews
from taskrunner.submission import rejection, ride_out, submit
from taskrunner.task import Task, too_large


class Schedules(ScheduleViews):
    """Made by the App: `app.schedules`."""

    # -- making

    def add(
        self,
        name: str,
        task: str | Task[..., Any],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        *,
        replace: bool = False,
        **said: Unpack[RuleArguments],
    ) -> ScheduleInfo:
        """Submit a job of `task` at each time that `cron` names or `every` so many seconds.

        `timezone` (UTC) is that of the cron expression; `start` and `end` (aware datetimes, both
        counted in) bound it; `jitter` (seconds) puts each job off by a part of it that is stable;
        `catch_up` says what becomes of slots that were missed: "none", the "latest" one, or "all",
        the newest `max_catch_up` (100) at most; `overlap="skip"` submits nothing while the last job
        is unfinished. All enqueue options are accepted besides, and are those of each job.

        Saying the same again changes nothing. `replace` changes a schedule that is there. Raises
        OptionError for bad options and for a name that is taken, ArgumentError and UnknownTask as
        `app.enqueue` does; while a module is imported DeclarationError for a second one of the
        same name.
        """
        wanted = self._wanted(name, task, (args, kwargs), said)
        if _is_import():
            self._declare(wanted)
            return self.declared_info(wanted)
        return self._store_it(wanted, replace)

    def _store_it(self, wanted: Schedule, may_replace: bool) -> ScheduleInfo:
        check_size(wanted, self._app.payload_limit_bytes)
        same = functools.partial(self._is_same, wanted)
        sealed = self._sealed(wanted)
        made = self._store.edit(
            wanted.name, lambda found: _added(sealed, found, may_replace, self.now, same)
        )
        assert made is not None
        return self.infos([Stored(made.name, b"", made)])[0]

    def _sealed(self, schedule: Schedule) -> Schedule:
        """As it is stored: a fingerprint of arguments would betray some of those that are secret."""
        seals = self._app.seals
        template = seals.template(schedule.name, schedule.template)
        return replace(schedule, template=template, said=seals.fingerprint(schedule.said))

    def _is_same(self, wanted: Schedule, found: Schedule) -> bool:
        """Whether users said of what is stored what they say now, whatever it is sealed with."""
        if not self._app.seals.is_active:
            return found.said == wanted.said
        try:
            template = self._app.seals.template_of(found.name, found.template)
        except CryptoError:
            return False
        return replace(found, template=template).fingerprint() == wanted.said

    def declare(
        self,
        task: Task[..., Any],
        name: str | None,
        arguments: tuple[Sequence[Any], Mapping[str, Any] | None],
        said: Mapping[str, Any],
    ) -> None:
        """What `@app.cron` does. Raises as `add`."""
        self._declare(self._wanted(task.name if name is None else name, task, arguments, said))

    def _wanted(
        self,
        name: str,
        task: str | Task[..., Any],
        arguments: tuple[Sequence[Any], Mapping[str, Any] | None],
        said: Mapping[str, Any],
    ) -> Schedule:
        of_rule, of_jobs = split(said)
        rule = rule_of(check_name(name), of_rule)
        template = call_of(self._app, task, *arguments, of_jobs).template(self._app)
        if template.lock is not None and template.lock.on_conflict == REPLACE:
            raise OptionError(
                f"unique on_conflict='replace': the slots of schedule {name!r} have a job each: expected "
                "'reject' or, for this schedule, unique=False"
            )
        wanted = Schedule(name, rule, template)
        return replace(wanted, said=wanted.fingerprint())

    def _declare(self, wanted: Schedule) -> None:
        known = self.declared.get(wanted.name)
        if known is not None and known.said != wanted.said:
            raise DeclarationError(
                f"name={wanted.name!r}: a schedule of that name is declared already: expected "
                "another name for this one"
            )
        self.declared[wanted.name] = wanted

    def judged(self) -> Mapping[str, Schedule]:
        """What is declared, by name, as it is stored. Raises PayloadTooLarge."""
        for schedule in self.declared.values():
            check_size(schedule, self._app.payload_limit_bytes)
        return {name: self._sealed(schedule) for name, schedule in self.declared.items()}

    # -- changing

    def remove(self, name: str) -> bool:
        """Forget a schedule; whether it was there. What it has submitted goes on."""
        stored = self._store.find(check_name(name))
        if stored is None:
            return False
        if stored.schedule is None:
            return self._store.remove_unreadable(stored)
        self._store.edit(name, lambda _: None)
        return True

    def pause(self, name: str) -> None:
        """Let it submit nothing until `resume`. Raises ScheduleNotFound."""
        self._change(name, lambda found: found if found.paused else replace(found, paused=True))

    def resume(self, name: str) -> None:
        """Let a paused one go on from now: slots of the pause were not missed. Raises
        ScheduleNotFound."""
        self._change(
            name,
            lambda found: replace(found, paused=False, after=self.now()) if found.paused else found,
        )

    def _change(self, name: str, change: Callable[[Schedule], Schedule]) -> None:
        def edit(found: Schedule | None) -> Schedule:
            if found is None:
                raise missing(name, self._store)
            return change(found)

        self._store.edit(check_name(name), edit)

    def trigger(self, name: str) -> Job[Any]:
        """Submit its job now, whatever else holds: also while it is paused or the last job is
        unfinished. Raises ScheduleNotFound, and DuplicateJob where all its jobs have one id or are
        unique."""
        schedule = self.found(name)
        if schedule.template.header.key_id is None:  # only declared so far, or older than the keys
            schedule = self._sealed(schedule)
        message = schedule.job(None)
        tick = Tick(name, message, None)
        (answer,) = ride_out(lambda: self._app.broker.tick([tick]))
        if answer.kind is TickKind.FULL:
            raise BrokerFull()
        if answer.kind is TickKind.DUPLICATE:
            # The store has said no, and now says who is in the way; if that has just ended, nobody is.
            receipt = submit(self._app.broker, message)
            if refused := rejection(message, receipt):
                raise refused
        return Job(self._app, message.id, message.queue, submitted=True)

    # -- the same from asyncio

    async def aadd(
        self,
        name: str,
        task: str | Task[..., Any],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        *,
        replace: bool = False,
        **said: Unpack[RuleArguments],
    ) -> ScheduleInfo:
        """`add`, from asyncio; always at run time."""
        wanted = self._wanted(name, task, (args, kwargs), said)
        return await asyncio.to_thread(self._store_it, wanted, replace)

    async def aremove(self, name: str) -> bool:
        """`remove`, from asyncio."""
        return await asyncio.to_thread(self.remove, name)

    async def apause(self, name: str) -> None:
        """`pause`, from asyncio."""
        await asyncio.to_thread(self.pause, name)

    async def aresume(self, name: str) -> None:
        """`resume`, from asyncio."""
        await asyncio.to_thread(self.resume, name)

    async def atrigger(self, name: str) -> Job[Any]:
        """`trigger`, from asyncio."""
        return await asyncio.to_thread(self.trigger, name)


def _added(
    wanted: Schedule,
    found: Schedule | None,
    may_replace: bool,
    now: Callable[[], float],
    is_same: Callable[[Schedule], bool],
) -> Schedule:
    """What a schedule becomes where one is wanted at run time."""
    if found is None:
        moment = now()
        return replace(wanted, created_at=moment, after=moment)
    if is_same(found):
        return found
    if not may_replace:
        raise OptionError(
            f"name={wanted.name!r}: there is a schedule of that name already, and it is another: "
            "expected a name that is free, or replace=True to change the one that is there"
        )
    return changed(found, wanted, now)


def check_size(schedule: Schedule, limit: int) -> None:
    """Raise PayloadTooLarge where its arguments are over the limit, in bytes."""
    template = schedule.template
    if len(template.body) > limit:
        raise too_large(f"{template.task} (schedule {schedule.name})", template.body, limit)


def changed(found: Schedule, wanted: Schedule, now: Callable[[], float]) -> Schedule:
    """A schedule with another rule or job. Where its times are others, those that have passed are
    none that were missed."""
    keeps_time = _times(found) == _times(wanted)
    return replace(
        found,
        rule=wanted.rule,
        template=wanted.template,
        said=wanted.said,
        after=found.after if keeps_time else now(),
    )


def _times(schedule: Schedule) -> tuple[Any, ...]:
    rule = schedule.rule
    return rule.cron, rule.every, rule.timezone, rule.start, rule.end


def _is_import() -> bool:
    """Whether whoever called is the top level of a module that is being imported, or called by it.

    What is the main program is not: nobody imports that.
    """
    frame = inspect.currentframe()
    in_module = False
    while frame is not None:
        name = frame.f_code.co_name
        # What every loader's method is called; the module's own code runs in a frame above it.
        if name == "exec_module" and in_module:
            return True
        in_module = in_module or name == "<module>"
        frame = frame.f_back
    return False
