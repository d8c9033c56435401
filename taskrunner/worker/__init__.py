"""The child's side: what runs in a worker process. `main.run_child` is its life."""
