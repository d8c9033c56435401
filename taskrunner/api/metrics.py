"""`/metrics`, in the format of Prometheus: of the store, for everybody who reads it, and of the node that
runs in this process.

    store, asked at each scrape ──────▶ jobs by queue and state, how long the oldest waits, nodes, lateness
    events of the node beside us ─────▶ runs by queue, task and outcome; durations, waits; children, outages

What an identity does not reach is left out. The numbers of a node are those of one process: each node
that serves HTTP has its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated, Final

from fastapi import APIRouter, Depends, Request, Response
from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from taskrunner import events as e
from taskrunner.access import Scope
from taskrunner.api.caller import PATIENCE_S, Caller, Needs
from taskrunner.clock import SYSTEM_CLOCK
from taskrunner.ids import made_at
from taskrunner.states import State
from taskrunner.submission import ride_out

BUCKETS: Final = (0.001, 0.005, 0.02, 0.1, 0.5, 1, 2, 5, 10, 30, 60, 300, 1800)
MOST_TASKS: Final = 500
"""Names of tasks that have numbers of their own; the others are counted as one."""

router = APIRouter(tags=["service"])
Reader = Annotated[Caller, Depends(Needs(Scope.READ))]


@router.get("/metrics", response_class=Response, summary="Numbers for Prometheus")
def metrics(request: Request, caller: Reader) -> Response:
    """Of the queues in reach; those of the node beside the service for those alone who reach all."""
    registry = CollectorRegistry()
    registry.register(StoreNumbers(caller))
    text = generate_latest(registry)
    node = request.app.state.node_numbers
    if node is not None and caller.identity.reaches_everything:
        text += generate_latest(node.registry)
    return Response(text, 200, media_type=CONTENT_TYPE_LATEST)


class StoreNumbers(Collector):
    """What the store knows, asked when it is collected."""

    def __init__(self, caller: Caller) -> None:
        self._caller = caller

    def describe(self) -> list[Metric]:
        """Nothing beforehand: nobody is asked before it is wanted."""
        return []

    def collect(self) -> Iterator[Metric]:
        yield from self._of_queues()
        yield from self._of_nodes()
        yield from self._of_schedules()

    def _of_queues(self) -> Iterator[Metric]:
        broker, names = self._caller.app.broker, self._caller.queues()
        jobs = GaugeMetricFamily("taskrunner_jobs", "Jobs", labels=["queue", "state"])
        done = CounterMetricFamily("taskrunner_succeeded", "Runs that succeeded", labels=["queue"])
        failed = CounterMetricFamily("taskrunner_failed", "Jobs that failed", labels=["queue"])
        for stats in ride_out(lambda: broker.stats(names), PATIENCE_S):
            for state in State:
                jobs.add_metric([stats.queue, state], stats.counts.get(state, 0))
            done.add_metric([stats.queue], stats.processed)
            failed.add_metric([stats.queue], stats.failed)
        text = "Seconds for which the oldest ready job has waited; 0: none is ready"
        oldest = GaugeMetricFamily("taskrunner_oldest_ready_seconds", text, labels=["queue"])
        waits = ride_out(lambda: broker.oldest(names), PATIENCE_S)
        for name, wait in zip(names, waits, strict=True):
            oldest.add_metric([name], wait or 0.0)
        yield from (jobs, done, failed, oldest)

    def _of_nodes(self) -> Iterator[Metric]:
        if not self._caller.identity.reaches_everything:
            return
        nodes = self._caller.inspector.nodes()
        yield GaugeMetricFamily("taskrunner_nodes", "Supervisors", value=len(nodes))
        children = sum(node.processes for node in nodes)
        yield GaugeMetricFamily("taskrunner_children", "Worker processes", value=children)
        running = sum(node.busy for node in nodes)
        yield GaugeMetricFamily("taskrunner_running", "Jobs that run", value=running)
        trips = self._caller.app.broker.round_trips
        if trips is not None:
            text = "Times that this process has asked the broker"
            yield CounterMetricFamily("taskrunner_broker_round_trips", text, value=trips)

    def _of_schedules(self) -> Iterator[Metric]:
        text = "Seconds by which the last firing was late, jitter included"
        late = GaugeMetricFamily("taskrunner_schedule_lateness_seconds", text, labels=["schedule"])
        for one in self._caller.app.schedules.list():
            is_ours = one.queue is not None and self._caller.identity.reaches(
                queue=one.queue, task=one.task
            )
            if is_ours and one.last is not None and one.last.slot is not None:
                late.add_metric([one.name], (one.last.at - one.last.slot).total_seconds())
        yield late


class NodeNumbers:
    """What the node of this process does, as its events say. It hears events (`hear`) and counts runs (`ran`)."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        of = ("queue", "task")
        self._runs = self._counter("runs", "Runs that ended", *of, "outcome")
        self._seconds = self._histogram("run_seconds", "Length of runs", *of)
        self._waits = self._histogram(
            "wait_seconds", "From submission to the start of the first run, delays included", *of
        )
        self._started = self._counter("children_started", "Worker processes that were started")
        self._died = self._counter("children_died", "Worker processes that died", "signal")
        self._replaced = self._counter("children_replaced", "Worker processes used up or too big")
        self._reloads = self._counter("reloads", "Times that new code was loaded", "outcome")
        self._returned = self._counter("returned", "Jobs that went back to their queues")
        self._fenced = self._counter("fenced", "Outcomes that came too late")
        self._outages = self._counter("broker_outages", "Times that the broker was away")
        self._away = self._counter("broker_away_seconds", "Seconds for which it was away")
        self._mishaps = self._counter("mishaps", "Passes of our threads that failed", "service")
        self._wanted = Gauge(
            "taskrunner_node_processes", "Worker processes of this node", registry=self.registry
        )
        self._tasks: set[str] = set()

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(f"taskrunner_node_{name}", text, labels, registry=self.registry)

    def _histogram(self, name: str, text: str, *labels: str) -> Histogram:
        full = f"taskrunner_node_{name}"
        return Histogram(full, text, labels, registry=self.registry, buckets=BUCKETS)

    def hear(self, event: e.Event) -> None:
        """An event of the node."""
        match event:
            case e.ChildStarted():
                self._started.inc()
            case e.ChildDied():
                self._died.labels(str(event.signal or "")).inc()
            case e.ChildReplaced():
                self._replaced.inc()
            case e.NodeStarted() | e.PoolResized():
                self._wanted.set(event.processes)
            case e.JobsReturned():
                self._returned.inc(event.count)
            case _:
                self._hear_trouble(event)

    def _hear_trouble(self, event: e.Event) -> None:
        match event:
            case e.BrokerLost():
                self._outages.inc()
            case e.BrokerBack():
                self._away.inc(event.away_s)
            case e.OutcomeFenced():
                self._fenced.inc()
            case e.ServiceFailed():
                self._mishaps.labels(event.service).inc()
            case e.Reloaded():
                self._reloads.labels("done").inc()
            case e.ReloadFailed():
                self._reloads.labels("failed").inc()

    def ran(self, runs: Sequence[e.Ran]) -> None:
        """Runs have ended. On the node's main thread."""
        now = SYSTEM_CLOCK.wall()
        for run in runs:
            task = self._named(run.task)
            self._runs.labels(run.queue, task, run.outcome).inc()
            self._seconds.labels(run.queue, task).observe(run.seconds)
            made = made_at(run.job_id) if run.is_first else None
            if made is not None:
                self._waits.labels(run.queue, task).observe(max(0.0, now - run.seconds - made))

    def _named(self, task: str) -> str:
        """Whoever may submit by any name must not fill this process's memory with them."""
        if task in self._tasks or len(self._tasks) < MOST_TASKS:
            self._tasks.add(task)
            return task
        return "(others)"
