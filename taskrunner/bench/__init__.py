"""Measuring a user's own task: which processes, concurrency and prefetch are the fastest here.

grid.py ─ what to try ─▶ trial.py ─ each: a node, a producer, the store's counters ─▶ advice.py
                            │                                                           │
         workplace.py ──────┘  a namespace of its own, erased at the end                └▶ chart.py
"""
