"""The parent's side: one node. `supervisor.run` for a process of its own, `embedded.running` inside
another program."""
