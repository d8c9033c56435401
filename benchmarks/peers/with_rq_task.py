"""The task of RQ, which refuses functions of the program's own main module."""


def empty() -> None:
    """Nothing."""
