"""For tests: yours of an application or of a broker of your own, and taskrunner's.

    conformance   BrokerConformance, BackendConformance: what every broker and backend must do
    machine       a Hypothesis state machine that compares any broker with `model`
    clock         FakeClock
    waiting       eventually: wait for a condition with a deadline
    startstop     start_stop_stress: what every service must survive

`conformance` and `machine` need pytest and hypothesis; the others need nothing. Import from the
modules: pytest loads this package wherever taskrunner is installed, so it stays empty.
"""
