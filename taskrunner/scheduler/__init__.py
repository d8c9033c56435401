"""What happens by the clock: due jobs become ready, lost nodes are reaped, old records go."""
