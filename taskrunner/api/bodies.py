"""What requests carry, as the OpenAPI document shows it. The options themselves are judged where they
always are, by `options`."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StrictBool, StrictStr

from taskrunner.inspector.jobs import MOST_IN_A_SLICE
from taskrunner.limits import MOST_RUNNING
from taskrunner.message import LONGEST, LONGEST_NAME
from taskrunner.options import LONGEST_TEXT
from taskrunner.retry import Backoff
from taskrunner.schedules import MOST_CAUGHT_UP
from taskrunner.unique import Unique

MOST_IN_A_BATCH = 10_000
MOST_NAMED = 100
"""queues or states in one filter"""
YEARS = 9000


def _moment(value: Any) -> datetime:
    """Text as a moment. Raises ValueError."""
    if not isinstance(value, str) or value[:1].isdigit() is False:
        raise ValueError("expected a moment as ISO 8601 with a time zone")
    try:
        found = datetime.fromisoformat(value)
    except ValueError:
        raise ValueError("expected a moment as ISO 8601 with a time zone") from None
    if found.utcoffset() is None:
        raise ValueError("expected a time zone, as in 2030-01-31T12:00:00+01:00 or …Z")
    if not 2 <= found.year < YEARS:
        raise ValueError(f"expected a year before {YEARS}")
    return found


Moment = Annotated[
    datetime,
    BeforeValidator(_moment),
    Field(description="ISO 8601 with a time zone", examples=["2030-01-31T12:00:00+01:00"]),
]
Seconds = Annotated[
    float, Field(strict=True, ge=0, le=LONGEST, allow_inf_nan=False, description="seconds")
]
Queue = Annotated[str, Field(strict=True, pattern=r"^[A-Za-z0-9_.:/@\-]{1,128}$")]
TaskName = Annotated[str, Field(strict=True, min_length=1, max_length=LONGEST_NAME)]
Named = Annotated[str, Field(strict=True, min_length=1, max_length=LONGEST_TEXT)]
Key = Named | Annotated[float, Field(strict=True, allow_inf_nan=False)]
StateName = Literal[
    "scheduled",
    "pending",
    "waiting",
    "active",
    "retrying",
    "succeeded",
    "failed",
    "cancelled",
    "expired",
]


class Body(BaseModel):
    """What is not named here is refused, by its name."""

    model_config = ConfigDict(extra="forbid")

    def said(self, *besides: str) -> dict[str, Any]:
        """What was given and is not null, as the App takes it, without what is named."""
        return {
            name: value.given() if isinstance(value, (BackoffBody, UniqueBody)) else value
            for name in self.model_fields_set
            if name not in besides and (value := getattr(self, name)) is not None
        }


class BackoffBody(Body):
    """How long to wait between runs."""

    initial: Seconds = 1.0
    factor: Annotated[float, Field(strict=True, ge=1, le=1e6, allow_inf_nan=False)] = 2.0
    maximum: Seconds = 600.0
    jitter: StrictBool = True

    def given(self) -> Backoff:
        return Backoff(**self.model_dump())


class UniqueBody(Body):
    """No second job with the same key while there is one; without a key: with the same arguments."""

    key: Key | None = None
    until: Literal["finished", "started"] = "finished"
    seconds: Seconds | None = None
    on_conflict: Literal["reject", "existing", "replace"] = "reject"

    def given(self) -> Unique:
        return Unique(**self.model_dump())


class JobOptions(Body):
    """Each option of `enqueue`, by its name."""

    queue: Queue | None = None
    priority: Annotated[int, Field(strict=True, ge=0, le=9)] | None = None
    delay: Seconds | None = None
    eta: Moment | None = None
    expires: Seconds | Moment | None = None
    timeout: Seconds | None = None
    deadline: Moment | None = None
    retries: Annotated[int, Field(strict=True, ge=0, lt=2**31)] | None = None
    backoff: BackoffBody | None = None
    retry_on: Annotated[list[StrictStr], Field(max_length=MOST_NAMED)] | None = None
    give_up_on: Annotated[list[StrictStr], Field(max_length=MOST_NAMED)] | None = None
    retention: Seconds | None = None
    job_id: Named | None = None
    headers: dict[str, StrictStr] | None = None
    durability: Literal["default", "replicated", "fsynced"] | None = None
    unique: StrictBool | UniqueBody | None = None
    rate_limit: Named | None = None
    """such as 100/s, 5/m or 10/2s burst 5"""
    rate_key: Key | None = None
    max_running: Annotated[int, Field(strict=True, ge=1, le=MOST_RUNNING)] | None = None
    running_key: Key | None = None


class Work(BaseModel):
    """What is to be run."""

    task: TaskName
    args: list[Any] = Field(default_factory=list)
    kwargs: dict[str, Any] = Field(default_factory=dict)


class NewJob(JobOptions, Work):
    """A job to submit."""

    def options(self) -> dict[str, Any]:
        return self.said("task", "args", "kwargs")


class NewJobs(Body):
    """Jobs to submit, each answered by itself."""

    jobs: Annotated[
        list[Any],
        Field(
            min_length=1,
            max_length=MOST_IN_A_BATCH,
            json_schema_extra={"items": {"$ref": "#/components/schemas/NewJob"}},
        ),
    ]


class NewTime(Body):
    """When a job shall fall due: one of the two."""

    delay: Seconds | None = None
    eta: Moment | None = None


class Filter(Body):
    """Jobs that fit all that is said."""

    queue: Annotated[list[Queue], Field(max_length=MOST_NAMED)] | None = None
    state: Annotated[list[StateName], Field(max_length=MOST_NAMED)] | None = None
    task: Named | None = None
    """* and ? stand for anything"""
    text: Named | None = None
    since: Moment | None = None
    until: Moment | None = None


class Listing(Filter):
    """Which jobs to list, and how many."""

    limit: Annotated[int, Field(ge=1, le=MOST_IN_A_SLICE)] = 100
    cursor: Annotated[str, Field(max_length=2000, description="where the last page ended")] = ""


class Bulk(NewTime):
    """Something to do to every job that a filter means, a slice at a time."""

    action: Literal["cancel", "retry", "delete", "reschedule"]
    filter: Filter
    dry_run: StrictBool = False
    cursor: Annotated[str, Field(strict=True, max_length=2000)] = ""


class Purge(Body):
    """Which jobs of a queue to remove; without states those that wait."""

    state: Annotated[list[StateName], Field(max_length=MOST_NAMED)] | None = None
    dry_run: StrictBool = False
    cursor: Annotated[str, Field(strict=True, max_length=2000)] = ""


class NewSchedule(JobOptions, Work):
    """What to run, when, and with which options."""

    cron: Annotated[str, Field(strict=True, min_length=1, max_length=LONGEST_TEXT)] | None = None
    """minute hour day month weekday, and perhaps second and year"""
    every: Seconds | None = None
    timezone: Named | None = None
    start: Moment | None = None
    end: Moment | None = None
    jitter: Seconds | None = None
    catch_up: Literal["none", "latest", "all"] | None = None
    max_catch_up: Annotated[int, Field(strict=True, ge=1, le=MOST_CAUGHT_UP)] | None = None
    overlap: Literal["allow", "skip"] | None = None


class NamedSchedule(NewSchedule):
    """The same, with its name."""

    name: Named


class Held(Body):
    """Whom a limit or a pause holds: the jobs of a task, those of a key, or without either all of the
    queue."""

    task: TaskName | None = None
    key: Named | None = None


class Pause(Held):
    """For how long; without `seconds` until it is resumed."""

    seconds: Annotated[float, Field(strict=True, ge=0.001, le=LONGEST)] | None = None


class NewLimit(Held):
    """One of the two, or both."""

    rate: Named | None = None
    """such as 100/s, 5/m or 10/2s burst 5, or none"""
    max_running: (
        Annotated[int, Field(strict=True, ge=1, le=MOST_RUNNING)] | Literal["none"] | None
    ) = None
