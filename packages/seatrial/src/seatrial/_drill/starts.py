"""Starts that must fail."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from .._rows.verdict import Evidence, Judgement, failed
from .drill import Drill
from .tracebacks import find_traceback


@dataclass(frozen=True, slots=True)
class FailedStart:
    """A start that must fail.

    Attributes:
        exit_code: Exit code, None if it did not exit.
        written: Its whole output.
        output: The end of it.
    """

    exit_code: int | None
    written: bytes
    output: Evidence

    def problem(self, cause: str) -> Judgement | None:
        """Return the failure if it did not exit with an error and without a traceback.

        Args:
            cause: What should have ended it, such as `a taken port`.
        """
        if self.exit_code is None:
            return failed(f"With {cause}, it does not exit.", self.output)
        if self.exit_code == 0:
            return failed(f"With {cause}, it exits with 0.", self.output)
        if trace := find_traceback(self.written):
            return failed(f"With {cause}, it prints a traceback: {trace}.", self.output)
        return None

    def mentions(self, *texts: str) -> bool:
        """Return whether the output contains one of the texts, in any case."""
        written = self.written.lower()
        return any(text.lower().encode() in written for text in texts)


def failing_start(
    drill: Drill,
    changes: Mapping[str, str] | None = None,
    *,
    without: Sequence[str] = (),
    port: int | None = None,
) -> FailedStart:
    """Start an instance that should exit, and return what it did.

    Args:
        drill: The drill.
        changes: Variables that differ.
        without: Variables that are not set.
        port: Port to listen on.
    """
    instance = drill.launch(changes, without=without, port=port)
    try:
        # An instance that becomes ready has not failed; waiting longer would not change it.
        if port is None:
            drill.wait_until_ready(instance, drill.keys.start_s)
        else:
            instance.wait(drill.keys.start_s)
        if instance.exit_code is not None:
            instance.wait(0)
        exit_code = instance.exit_code
    finally:
        drill.end(instance)
    return FailedStart(exit_code, instance.written, instance.evidence())
