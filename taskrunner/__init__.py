"""A task queue for Python: declare tasks, submit jobs from anywhere, see what became of each.

from taskrunner import App

app = App("redis://localhost:6379/0")

@app.task
def send(user_id: int, *, template: str = "welcome") -> str: ...

send.enqueue(42, template="hi").result(timeout=10)
"""

from __future__ import annotations

from taskrunner._version import __version__
from taskrunner.app import App
from taskrunner.breaker import CircuitBreaker
from taskrunner.codec import Encoder
from taskrunner.config import Config
from taskrunner.context import JobContext, Progress, current_job
from taskrunner.errors import (
    AccessError,
    AmbiguousJob,
    AppNotFound,
    ArgumentError,
    BrokerError,
    BrokerFull,
    BrokerUnavailable,
    ConfigError,
    CryptoError,
    DeclarationError,
    DuplicateJob,
    IllegalTransition,
    JobCancelled,
    JobError,
    JobExpired,
    JobFailed,
    JobNotFound,
    KeyNotFound,
    LaterMessage,
    MessageError,
    NodeFailed,
    NodeLost,
    NodeNotFound,
    NotAllowed,
    NotAuthenticated,
    NotConfirmed,
    OptionError,
    PartlyUnavailable,
    PayloadTooLarge,
    Reject,
    ResultExpired,
    ResultTimeout,
    Retry,
    ScheduleNotFound,
    StartError,
    TaskCancelled,
    TaskInterrupt,
    TaskrunnerError,
    TaskTimeout,
    TooManyRequests,
    UnknownTask,
    WouldDeadlock,
)
from taskrunner.job import Job
from taskrunner.jobinfo import JobInfo
from taskrunner.message import ErrorInfo, Message
from taskrunner.middleware import Middleware
from taskrunner.retry import Backoff
from taskrunner.retryafter import retry_after
from taskrunner.states import State
from taskrunner.task import AsyncTask, Task
from taskrunner.unique import Unique

__all__ = [
    "AccessError",
    "AmbiguousJob",
    "App",
    "AppNotFound",
    "ArgumentError",
    "AsyncTask",
    "Backoff",
    "BrokerError",
    "BrokerFull",
    "BrokerUnavailable",
    "CircuitBreaker",
    "Config",
    "ConfigError",
    "CryptoError",
    "DeclarationError",
    "DuplicateJob",
    "Encoder",
    "ErrorInfo",
    "IllegalTransition",
    "Job",
    "JobCancelled",
    "JobContext",
    "JobError",
    "JobExpired",
    "JobFailed",
    "JobInfo",
    "JobNotFound",
    "KeyNotFound",
    "LaterMessage",
    "Message",
    "MessageError",
    "Middleware",
    "NodeFailed",
    "NodeLost",
    "NodeNotFound",
    "NotAllowed",
    "NotAuthenticated",
    "NotConfirmed",
    "OptionError",
    "PartlyUnavailable",
    "PayloadTooLarge",
    "Progress",
    "Reject",
    "ResultExpired",
    "ResultTimeout",
    "Retry",
    "ScheduleNotFound",
    "StartError",
    "State",
    "Task",
    "TaskCancelled",
    "TaskInterrupt",
    "TaskTimeout",
    "TaskrunnerError",
    "TooManyRequests",
    "Unique",
    "UnknownTask",
    "WouldDeadlock",
    "__version__",
    "current_job",
    "retry_after",
]
