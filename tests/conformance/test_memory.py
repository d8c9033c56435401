"""The memory broker and backend are what the suites say."""

from __future__ import annotations

from taskrunner.backends.memory import MemoryBackend
from taskrunner.brokers.base import Broker, JobKey
from taskrunner.brokers.memory import MemoryBroker
from taskrunner.testing._conformance_kit import Damage
from taskrunner.testing.conformance import BackendConformance, BrokerConformance
from tests.conformance.damage import damage_memory


class TestMemoryBroker(BrokerConformance):
    make_broker = staticmethod(MemoryBroker)

    def lose_from_active_set(self, broker: Broker, node: str, key: JobKey) -> bool:
        assert isinstance(broker, MemoryBroker)
        del broker._queues[key.queue].held[node][key.id]
        return True

    def damage(self, broker: Broker, how: Damage, key: JobKey) -> bool:
        return damage_memory(broker, how, key)


class TestMemoryBackend(BackendConformance):
    make_backend = staticmethod(MemoryBackend)
