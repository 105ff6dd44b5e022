"""The command `jobs` of a service: list, retry, discard and enqueue jobs."""

import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from typing import Any, Final, Protocol, TextIO, get_args

import msgspec

from ._definition import Job
from ._operations import JobRecord
from ._tables import State

_USAGE, _NOT_FOUND = 2, 1
_AT_ONCE: Final = 1000
_HEAD: Final = ("id", "job", "state", "attempts", "created", "error")


class Jobs(Protocol):
    """The operations of the plugin that the actions use."""

    @property
    def known_jobs(self) -> Mapping[str, Job[Any]]: ...

    async def records(
        self, *, state: State | None = None, name: str | None = None, limit: int = 100
    ) -> list[JobRecord]: ...

    async def retry(self, job_id: int) -> bool: ...

    async def discard(self, job_id: int) -> bool: ...

    async def enqueue_now(self, job: Job[Any], arguments: Mapping[str, Any]) -> int | None: ...


def add_arguments(parser: ArgumentParser) -> None:
    """Add the actions and their options."""
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True, dest="action")
    listing = actions.add_parser("list", help="print the newest jobs, without their arguments")
    listing.add_argument("--state", choices=get_args(State), help="only jobs in this state")
    listing.add_argument("--limit", type=int, default=50, metavar="N", help="at most N jobs, 50 by default")
    listing.add_argument("--json", action="store_true", help="print one JSON object a line")
    for action, effect in (
        ("retry", "execute failed jobs again, with all their attempts"),
        ("discard", "delete jobs that are not being executed"),
    ):
        changing = actions.add_parser(action, help=effect)
        changing.add_argument("ids", nargs="*", type=int, metavar="ID", help="ids of jobs")
        changing.add_argument("--failed", metavar="JOB", help="all failed jobs of this name")
    running = actions.add_parser("run", help="enqueue a job and print its id")
    running.add_argument("name", metavar="JOB", help="name of the job")
    running.add_argument(
        "--arguments", default="{}", metavar="JSON", help="its arguments as an object, by default none"
    )


async def run(jobs: Jobs, options: Namespace, stdout: TextIO) -> int:
    """Perform an action; return the exit code."""
    if options.action == "list":
        records = await jobs.records(state=options.state, limit=max(1, options.limit))
        stdout.writelines(_as_json(records) if options.json else _as_table(records))
        return 0
    if options.action == "run":
        return await _enqueue(jobs, options, stdout)
    if bool(options.ids) == bool(options.failed):
        return _refuse(f"jobs {options.action}: pass ids of jobs, or --failed with the name of a job")
    change = jobs.retry if options.action == "retry" else jobs.discard
    if options.failed:
        count = await _change_failed(jobs, options.failed, change)
        stdout.write(f"{options.action}: {count}\n")
        return 0
    kind = "failed job" if options.action == "retry" else "job that is not being executed"
    missing = [job_id for job_id in options.ids if not await change(job_id)]
    for job_id in missing:
        sys.stderr.write(f"there is no {kind} with the id {job_id}\n")
    return _NOT_FOUND if missing else 0


async def _change_failed(jobs: Jobs, name: str, change: Callable[[int], Awaitable[bool]]) -> int:
    count = 0
    while found := await jobs.records(state="failed", name=name, limit=_AT_ONCE):
        for record in found:
            count += await change(record.job_id)
    return count


async def _enqueue(jobs: Jobs, options: Namespace, stdout: TextIO) -> int:
    known = jobs.known_jobs
    job = known.get(options.name)
    if job is None:
        return _refuse(f"jobs run: {options.name!r} is none of the jobs: {', '.join(sorted(known))}")
    try:
        arguments = msgspec.json.decode(options.arguments, type=dict[str, Any])
        job_id = await jobs.enqueue_now(job, arguments)
    except (TypeError, ValueError) as error:
        return _refuse(f"jobs run: --arguments: {error}")
    stdout.write(f"{job_id}\n")
    return 0


def _refuse(problem: str) -> int:
    sys.stderr.write(f"{problem}\n")
    return _USAGE


def _as_json(records: Sequence[JobRecord]) -> Iterator[str]:
    for record in records:
        yield f"{msgspec.json.encode(record._asdict()).decode()}\n"


def _as_table(records: Sequence[JobRecord]) -> Iterator[str]:
    rows = [_HEAD, *map(_row, records)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEAD))]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        yield f"{'  '.join(cells).rstrip()}\n"


def _row(record: JobRecord) -> tuple[str, ...]:
    created = record.created_at.isoformat(sep=" ", timespec="seconds")
    error = (record.error or "").partition("\n")[0]
    return (str(record.job_id), record.name, record.state, str(record.attempts), created, error)
