"""For tests: yours of an application or of a broker of your own, and taskrunner's.

    conformance   BrokerConformance, BackendConformance: what every broker and backend must do
    machine       a Hypothesis state machine that compares any broker with `model`
    clock         FakeClock; StoreClock moves the time of a store
    waiting       eventually: wait for a condition with a deadline
    startstop     start_stop_stress: what every service must survive
    fleet         real nodes of an application
    processes     who is below whom; stopping, killing; nothing_left_over
    crash         make a process die at a named point
    proxy         a proxy that breaks connections in every way
    wire          which request calls which script; counting commands
    redis_server  a private redis-server to kill, stop, restart and restore

`conformance` and `machine` need pytest and hypothesis; the others need nothing more than taskrunner. Import from the
modules: pytest loads this package wherever taskrunner is installed, so it stays empty.
"""
