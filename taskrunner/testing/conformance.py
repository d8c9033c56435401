"""What a broker is, and what a result backend is, as tests.

A broker of your own passes the same suite as ours by one line:

    from taskrunner.testing.conformance import BrokerConformance

    class TestMyBroker(BrokerConformance):
        make_broker = staticmethod(MyBroker)          # called as make_broker(limits=Limits(...))

where every call answers a broker on an empty store. What needs a server can be a fixture:

    class TestMyBroker(BrokerConformance):
        @pytest.fixture
        def make_broker(self, my_server):
            return lambda limits: MyBroker(my_server.url, namespace=uuid4().hex, limits=limits)

The tests ask for capabilities, never for names. They move time by `set_skew`; none sleeps.
"""

from __future__ import annotations

from taskrunner.testing._conformance_audit import AuditTests
from taskrunner.testing._conformance_backend import BackendTests
from taskrunner.testing._conformance_bells import BellTests
from taskrunner.testing._conformance_cancel import CancelTests
from taskrunner.testing._conformance_contents import ContentsTests
from taskrunner.testing._conformance_control import ControlTests
from taskrunner.testing._conformance_deliver import DeliverTests
from taskrunner.testing._conformance_desk import DeskTests
from taskrunner.testing._conformance_erase import EraseTests
from taskrunner.testing._conformance_fencing import FencingTests
from taskrunner.testing._conformance_hands import HandTests
from taskrunner.testing._conformance_lengths import LengthTests
from taskrunner.testing._conformance_limits import LimitTests
from taskrunner.testing._conformance_model import ModelTests
from taskrunner.testing._conformance_nodes import NodeTests
from taskrunner.testing._conformance_park import ParkTests
from taskrunner.testing._conformance_records import RecordTests
from taskrunner.testing._conformance_settle import SettleTests
from taskrunner.testing._conformance_slots import SlotTests
from taskrunner.testing._conformance_submit import SubmitTests
from taskrunner.testing._conformance_suspects import SuspectTests
from taskrunner.testing._conformance_time import TimeTests
from taskrunner.testing._conformance_unique import UniqueTests
from taskrunner.testing._conformance_upkeep import UpkeepTests
from taskrunner.testing._conformance_volume import VolumeTests

__all__ = ["BackendConformance", "BrokerConformance"]


class BrokerConformance(
    SubmitTests,
    DeliverTests,
    SettleTests,
    SuspectTests,
    FencingTests,
    CancelTests,
    ControlTests,
    DeskTests,
    ContentsTests,
    RecordTests,
    TimeTests,
    SlotTests,
    ParkTests,
    UniqueTests,
    LengthTests,
    LimitTests,
    NodeTests,
    BellTests,
    HandTests,
    UpkeepTests,
    EraseTests,
    AuditTests,
    VolumeTests,
    ModelTests,
):
    """Inherit it; `make_broker` is all it needs (see `_conformance_kit.BrokerKit`)."""


class BackendConformance(BackendTests):
    """Inherit it; `make_backend` is all it needs."""
