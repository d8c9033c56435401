"""Whether a store is sound: an audit of what is in it, and what its own settings risk."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from taskrunner.brokers.base import Broker, BrokerClient, Finding, Remark
from taskrunner.errors import BrokerError


@dataclass(frozen=True, slots=True)
class Report:
    """What the doctor found."""

    findings: tuple[Finding, ...]
    remarks: tuple[Remark, ...]

    @property
    def left(self) -> tuple[Finding, ...]:
        """What is still wrong."""
        return tuple(found for found in self.findings if not found.repaired)

    @property
    def risks(self) -> tuple[Remark, ...]:
        """What may cost jobs although nothing is wrong yet."""
        return tuple(remark for remark in self.remarks if remark.is_risk)


class Doctor:
    """Audits a store that nodes may go on using. Raises BrokerError where this process sees its
    broker only through a supervisor, as a task does with `memory://`."""

    def __init__(self, broker: BrokerClient) -> None:
        if not isinstance(broker, Broker):
            raise BrokerError(
                "this process sees its broker through a supervisor: only that one can audit it"
            )
        self._broker = broker

    def examine(
        self,
        queues: Sequence[str] | None = None,
        *,
        repair: bool = False,
        looked: Callable[[int], object] = lambda slices: None,
    ) -> Report:
        """Look through the store, or some queues of it, to the end. `looked` is called after each
        slice, with their number so far. Raises BrokerUnavailable; what was mended by then stays so.
        """
        findings: list[Finding] = []
        for number, found in enumerate(self._broker.audit(queues, repair=repair), 1):
            findings += found
            looked(number)
        return Report(tuple(findings), tuple(self._broker.remarks()))
