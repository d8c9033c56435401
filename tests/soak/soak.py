"""The random soak: nodes, jobs and faults for a while, and then the truth.

    submitter ─▶ proxy ─▶ Redis, every write synced ◀─ proxy ◀─ node 0
                            ▲      ▲                  ◀─ proxy ◀─ node 1 …
    chaos ── kills, stops, cuts: all of them, at random

When the time is up everything is healed, the jobs run out, the nodes are told to stop, and then
nothing may be wrong: no job lost, stranded or repeated without a reason, nothing left over.
"""

from __future__ import annotations

import contextlib
import os
import random
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from time import monotonic

from taskrunner import App
from taskrunner.brokers.base import Broker, JobKey, JobRecord, NodeInfo
from taskrunner.states import State
from taskrunner.testing.clock import StoreClock
from taskrunner.testing.fleet import Fleet
from taskrunner.testing.processes import nothing_left_over, open_files
from taskrunner.testing.proxy import Proxy
from taskrunner.testing.redis_server import RedisServer
from taskrunner.testing.waiting import eventually
from tests.soak import app as tasks
from tests.soak.chaos import Chaos, Slot
from tests.soak.journal import Journal
from tests.soak.verdict import FINAL, Found, Sent, Verdict, judge
from tests.soak.work import Submitter

ROOT = Path(__file__).parents[2]
BATCH = 1000
MOST_FILES = 60
"""Descriptors that a process of a node may have when it idles."""
KEPT_BY_A_QUEUE = {"limits", "stats", "meta"}
KEPT_BY_ALL = {"queues", "skew"}
YEAR_S = 366 * 86_400.0
STEP_S = 0.02


@dataclass(frozen=True, slots=True)
class Plan:
    """How long and how hard."""

    seconds: float
    seed: int
    nodes: int = 3
    processes: int = 2
    lease: float = 6.0
    rate: float = 150.0
    """jobs a second"""
    patience_s: float = 120.0
    """for the jobs to run out when all is healed"""

    def options(self, number: int) -> list[str]:
        """Of that node: they are not all alike."""
        kinds = [[], ["--concurrency", "4"], ["--prefetch", "20"]]
        lease, processes = f"{self.lease:g}", str(self.processes)
        return ["--lease", lease, "--processes", processes, *kinds[number % len(kinds)]]


class Soak:
    """One soak, in a folder that is kept only where something was found."""

    def __init__(self, plan: Plan, folder: Path) -> None:
        self._plan = plan
        self._journal = folder / "journal"
        rng = random.Random(plan.seed)
        self._server = RedisServer(appendonly=True)
        self._server.start()
        self._proxy = Proxy(self._server.url)
        self._proxy.start()
        self._fleet = Fleet(
            "tests.soak.app:app",
            broker=self._proxy.url,
            folder=folder,
            namespace=f"soak{os.getpid()}",
            root=ROOT,
            environ={
                "SOAK_JOURNAL": str(self._journal),
                "TASKRUNNER_MAX_CRASHES": "1000000",
            },
        )
        self._slots = [
            Slot(number, self._server, self._fleet, plan.options(number))
            for number in range(plan.nodes)
        ]
        self._chaos = Chaos(rng, self._server, self._slots, lease=plan.lease, folder=folder)
        self._app = self._client()
        self._submitter = Submitter(random.Random(plan.seed + 1), self._app, rate=plan.rate)

    def _client(self) -> App:
        """An App that knows the tasks, as a program that submits them would."""
        app = App(self._proxy.url, namespace=self._fleet.namespace)
        for name, task in tasks.app.tasks.items():
            app.task(name=name)(task.fn)
        return app

    # -- the story

    def run(self) -> Verdict:
        """Raises AssertionError where something cannot even be judged."""
        try:
            for slot in self._slots:
                slot.start()
            self._submitter.start()
            self._rage()
            return self._reckon()
        finally:
            self._close()

    def _rage(self) -> None:
        end, nap = monotonic() + self._plan.seconds, threading.Event()
        while monotonic() < end:
            self._chaos.step()
            nap.wait(STEP_S)

    def _reckon(self) -> Verdict:
        self._chaos.heal()
        self._submitter.stop()
        self._wait_for(self._submitter.sent)
        journal = Journal.read(self._journal)
        sent = {**self._submitter.sent, **self._children(journal.accepted)}
        self._wait_for(sent)
        found = {job.id: self._found(job, record) for job, record in self._records(sent)}
        faults = list(self._chaos.log)
        verdict = judge(list(sent.values()), found, Journal.read(self._journal), faults)
        verdict.faults.update(fault.kind for fault in faults)
        verdict.counts["unsure"] = len(self._submitter.unsure)
        verdict.counts.update({"audit": 0, "left over": 0})
        for line in self._chaos.findings:
            verdict.find("bad ends", line)
        for line in self._audit("beside its nodes"):
            verdict.find("audit", line)
        for line in (*self._swollen(), *self._ended_badly()):
            verdict.find("left over", line)
        for line in self._audit("without nodes"):
            verdict.find("audit", line)
        for line in self._left_in_the_store():
            verdict.find("left over", line)
        return verdict

    def _audit(self, when: str) -> Iterator[str]:
        """What `taskrunner doctor` finds."""
        broker = self._app.broker
        assert isinstance(broker, Broker)
        for found in broker.audit():
            for finding in found:
                yield f"{when}: {finding}"

    # -- jobs

    def _children(self, accepted: set[str]) -> dict[str, Sent]:
        """What jobs submitted. Of a parent that was never accepted for certain nothing is known."""
        children = {}
        for job_id in accepted:
            parent = self._submitter.sent.get(job_id.removesuffix(tasks.CHILD))
            if parent is not None:
                result = parent.result - 1
                children[job_id] = Sent(job_id, parent.queue, "child", State.SUCCEEDED, result)
        return children

    def _wait_for(self, sent: dict[str, Sent]) -> None:
        """Until every job is in a final state, or for as long as there is patience: who is not by
        then is stranded."""
        left = dict(sent)

        def all_final() -> bool:
            self._chaos.restart()
            for job, record in self._records(left):
                if record is not None and record.state in FINAL:
                    del left[job.id]
            return not left

        with contextlib.suppress(AssertionError):
            eventually(all_final, timeout=self._plan.patience_s)

    def _records(self, sent: dict[str, Sent]) -> list[tuple[Sent, JobRecord | None]]:
        jobs = list(sent.values())
        keys = [JobKey(job.queue, job.id) for job in jobs]
        records = [
            record
            for at in range(0, len(keys), BATCH)
            for record in self._app.broker.get(keys[at : at + BATCH])
        ]
        return list(zip(jobs, records, strict=True))

    def _found(self, job: Sent, record: JobRecord | None) -> Found | None:
        if record is None:
            return None
        result = None
        if record.state is State.SUCCEEDED:
            result = self._app.job(job.id, queue=job.queue).result(timeout=10)
        return Found(record.state, result, record.reason)

    # -- what must not be left over

    def _swollen(self) -> Iterator[str]:
        """Processes that have more descriptors open than they need."""
        for slot in self._slots:
            assert slot.node is not None
            for pid in (slot.node.pid, *slot.node.below):
                files = open_files(pid)
                if len(files) > MOST_FILES:
                    yield f"process {pid} of node {slot.name} has {len(files)} descriptors: {files}"

    def _ended_badly(self) -> Iterator[str]:
        """Nodes that do not end as they should, and what outlives them."""
        for slot in self._slots:
            assert slot.node is not None
            slot.node.terminate()
        for slot in self._slots:
            assert slot.node is not None
            status = slot.node.wait(timeout=60)
            if status != 0:
                yield f"node {slot.name} ended with status {status}: {slot.node.log[-2000:]}"
        for pid in self._fleet.left_behind():
            yield f"process {pid} outlived its node"
        for number, node in enumerate(self._fleet.nodes):
            if "Traceback" in node.log:
                yield f"the log of node {number} has a traceback: {node.log_path}"

    def _left_in_the_store(self) -> list[str]:
        """Keys that are there when all jobs are past their retention and no node is up."""
        broker = self._app.broker
        assert isinstance(broker, Broker)
        queues = broker.queues()
        with StoreClock(broker) as clock:
            clock.advance(YEAR_S)
            while broker.sweep(queues, BATCH):
                pass
            # A beat forgets whom nobody has heard of for long: one that was killed at the very end.
            broker.join(NodeInfo(id="the-last", lease=1.0), [])
            broker.leave("the-last", [])
            with self._server.client() as client:
                keys = [bytes(key).decode() for key in client.scan_iter(count=BATCH)]
        return [f"key {key}" for key in sorted(keys) if not self._may_stay(key)]

    def _may_stay(self, key: str) -> bool:
        name = key.rpartition(":")[2]
        kept = KEPT_BY_A_QUEUE if key.startswith(f"{{{self._fleet.namespace}:") else KEPT_BY_ALL
        return name in kept

    def _close(self) -> None:
        self._submitter.stop()
        self._fleet.end()
        self._app.close()
        for slot in self._slots:
            slot.close()
        self._proxy.close()
        self._server.close()


def soak(plan: Plan, folder: Path) -> Verdict:
    """One soak; its logs stay in the folder. Raises AssertionError where it cannot be judged."""
    verdict: Verdict | None = None
    try:
        with nothing_left_over():
            verdict = Soak(plan, folder).run()
    except AssertionError as error:
        if verdict is None:
            raise AssertionError(f"seed {plan.seed}: {error}") from error
        verdict.find("left over", str(error))
    return verdict
