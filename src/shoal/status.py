"""Why each system ended."""

from enum import StrEnum


class Status(StrEnum):
    """How the work on one system ended; in files it is the word itself."""

    DONE = "done"
    CONVERGED = "converged"
    MAX_STEPS = "max_steps"
    NON_FINITE = "non_finite"
    EXPLODED = "exploded"
    TOO_LARGE = "too_large"
    UNSUPPORTED = "unsupported"
    INVALID_INPUT = "invalid_input"
    STOPPED = "stopped"

    @property
    def is_success(self) -> bool:
        return self in (Status.DONE, Status.CONVERGED, Status.STOPPED)
