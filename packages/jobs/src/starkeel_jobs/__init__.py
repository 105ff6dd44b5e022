"""Background jobs and schedules of a Litestar service, in the service's own database.

Names are imported on first use: the main process of a service reads settings without SQLAlchemy and Litestar.
"""

from typing import TYPE_CHECKING

from starkeel_config import lazy_exports

if TYPE_CHECKING:
    from ._definition import InvalidArgumentsError, Job, JobContext, job
    from ._enqueuing import JobRequest
    from ._operations import JobRecord
    from ._plugin import JobsPlugin
    from ._schedule import schedule
    from ._settings import JobSettings
else:
    __getattr__, __dir__ = lazy_exports(
        __name__,
        {
            "_definition": ["InvalidArgumentsError", "Job", "JobContext", "job"],
            "_enqueuing": ["JobRequest"],
            "_plugin": ["JobsPlugin"],
            "_operations": ["JobRecord"],
            "_schedule": ["schedule"],
            "_settings": ["JobSettings"],
        },
    )

__all__ = [
    "InvalidArgumentsError",
    "Job",
    "JobContext",
    "JobRecord",
    "JobRequest",
    "JobSettings",
    "JobsPlugin",
    "job",
    "schedule",
]
