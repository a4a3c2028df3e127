"""How work that came to nothing is told; the command then ends with exit status 1."""


class WorkFailed(RuntimeError):  # noqa: N818, it reads as what it is
    """The input was right, but the work came to nothing."""
