"""What operators ask of a running system: the same answers for command line, API and dashboard."""
