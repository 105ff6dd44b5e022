"""Definitions of jobs: a function with typed arguments, and how it is executed."""

import inspect
import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Concatenate, Final, Generic, ParamSpec, TypeVar, get_type_hints

import msgspec
from sqlalchemy.ext.asyncio import AsyncSession
from starkeel_config import Backoff
from starkeel_db import LazySession

P = ParamSpec("P")
T = TypeVar("T")

MAX_NAME: Final = 100
"""Maximum number of characters of a job's name."""
MAX_ORDERING_KEY: Final = 200
"""Maximum number of characters of an ordering key."""
MAX_BATCH: Final = 1000
"""Maximum number of jobs that share a unit of work."""
_MAX_ARGUMENTS: Final = 1_000_000
"""Maximum number of bytes of a job's arguments: large data belongs in a table or in a store of objects."""
_VALUE: Final = re.compile(r"(?<=Invalid enum value) .*?(?= - at `\$|$)", re.DOTALL)
"""The only values in messages of msgspec."""
_PRIORITIES: Final = range(-100, 101)


class InvalidArgumentsError(ValueError):
    """The arguments of a queued job do not fit its function; it fails at once.

    Args:
        message: What does not fit, as msgspec describes it. Values in it are left out.
    """

    def __init__(self, message: str) -> None:
        super().__init__(_VALUE.sub("", message))


class JobContext:
    """The first argument of a job's function.

    Attributes:
        job_id: Id of the job.
        attempt: Number of this attempt, from 1.
    """

    __slots__ = ("_resources", "_session", "attempt", "job_id")

    def __init__(self, session: LazySession, job_id: int, attempt: int, resources: Sequence[object]) -> None:
        self._session = session
        self.job_id = job_id
        self.attempt = attempt
        self._resources = resources

    @property
    def session(self) -> AsyncSession:
        """Session of the job's unit of work.

        What is written with it is committed together with the success of the job: it takes effect exactly
        once.
        """
        return self._session.get()

    def resource(self, kind: type[T]) -> T:
        """Return the object of a type that was passed to the `JobsPlugin` as one of its `resources`.

        Raises:
            LookupError: There is none, or there are several.
        """
        found = [each for each in self._resources if isinstance(each, kind)]
        if len(found) != 1:
            raise LookupError(
                f"JobsPlugin has {len(found)} resources of type {kind.__qualname__}; pass exactly one in"
                " `resources`"
            )
        return found[0]


Handler = Callable[Concatenate[JobContext, P], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class EnqueueOptions:
    """When a job is executed, after which others, and whether it may be enqueued again."""

    run_at: datetime | None = None
    priority: int = 0
    unique_for: timedelta | None = None
    unique_key: str | None = None
    ordering_key: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Job(Generic[P]):
    """A function that is executed in the background; the result of `@job`.

    Attributes:
        name: Name in the database, in logs and in metrics; jobs of former versions have it as well.
        handler: The function.
        attempts: Maximum number of attempts.
        timeout_s: Seconds after which an attempt is cancelled.
        backoff: Pause between attempts.
        concurrency: Maximum number of jobs of this name that execute at the same time, in all processes
            together; `None` for no limit.
        batch: Maximum number of jobs of this name that share a unit of work.
    """

    name: str
    handler: Handler[P]
    attempts: int
    timeout_s: float
    backoff: Backoff
    concurrency: int | None
    arguments: type[msgspec.Struct]
    batch: int = 1
    options: EnqueueOptions = EnqueueOptions()

    def with_options(
        self,
        *,
        run_at: datetime | None = None,
        priority: int = 0,
        unique_for: timedelta | None = None,
        unique_key: str | None = None,
        ordering_key: str | None = None,
    ) -> "Job[P]":
        """Return the same job with other options for `enqueue`.

        Args:
            run_at: Time from which it may be executed, with a time zone; by default at once.
            priority: Jobs with a higher priority are executed first; from -100 to 100.
            unique_for: Time for which the same job is not enqueued again.
            unique_key: What makes a job the same within its name; by default its arguments.
            ordering_key: Jobs with the same name and the same ordering key are executed one after another, in
                the order in which they were enqueued; one that is retried or waits for its `run_at` holds
                the later ones back, and one that has failed does not. At most 200 characters.

        Raises:
            ValueError: `run_at` has no time zone, or another value is out of its range.
        """
        if run_at is not None and run_at.tzinfo is None:
            raise ValueError("run_at has no time zone: use datetime.now(UTC) + ..., not datetime.now()")
        if priority not in _PRIORITIES:
            raise ValueError(f"priority is {priority}: use a number from -100 to 100")
        if unique_for is not None and unique_for <= timedelta(0):
            raise ValueError("unique_for is not positive")
        if unique_key is not None and unique_for is None:
            raise ValueError("unique_key has no effect without unique_for")
        if ordering_key is not None and not 0 < len(ordering_key) <= MAX_ORDERING_KEY:
            raise ValueError(
                f"ordering_key has {len(ordering_key)} characters: use 1 to {MAX_ORDERING_KEY}, such as the"
                " id of what the job is about"
            )
        options = EnqueueOptions(
            run_at=run_at,
            priority=priority,
            unique_for=unique_for,
            unique_key=unique_key,
            ordering_key=ordering_key,
        )
        return replace(self, options=options)

    def encode(self, *args: P.args, **kwargs: P.kwargs) -> str:
        """Return arguments as JSON.

        Raises:
            TypeError: An argument is missing, unknown or of another type.
            ValueError: The arguments have more than a million bytes.
        """
        if args:
            raise TypeError(f"job {self.name}: pass its arguments by name")
        encoded = msgspec.json.encode(kwargs, order="sorted")
        try:
            msgspec.json.decode(encoded, type=self.arguments)
        except msgspec.ValidationError as error:
            raise TypeError(f"job {self.name}: {error}") from error
        if len(encoded) > _MAX_ARGUMENTS:
            raise ValueError(
                f"job {self.name}: its arguments have {len(encoded)} bytes, at most {_MAX_ARGUMENTS} are"
                " allowed; pass an id of the data instead"
            )
        return encoded.decode()

    def decode(self, arguments: str) -> dict[str, Any]:
        """Return arguments by name.

        Raises:
            InvalidArgumentsError: They do not fit the function, such as after its change.
        """
        try:
            decoded = msgspec.json.decode(arguments, type=self.arguments)
        except msgspec.ValidationError as error:
            raise InvalidArgumentsError(f"the arguments do not fit the function: {error}") from error
        return {name: getattr(decoded, name) for name in decoded.__struct_fields__}


def job(
    *,
    name: str | None = None,
    attempts: int = 10,
    timeout_s: float = 60.0,
    backoff: Backoff | None = None,
    concurrency: int | None = None,
    batch: int = 1,
) -> Callable[[Handler[P]], Job[P]]:
    """Make a job of a coroutine function whose first parameter is a `JobContext`.

    The other parameters are keyword-only and of types that msgspec can encode as JSON. A parameter that is
    added later needs a default, since jobs of the version before are still in the queue.

    Args:
        name: Name in the database; by default that of the function. Renaming the function then orphans the
            jobs in the queue.
        attempts: Maximum number of attempts, the first one included.
        timeout_s: Seconds after which an attempt is cancelled.
        backoff: Pause between attempts; by default from a second to an hour, with jitter.
        concurrency: Maximum number that executes at the same time, in all processes together.
        batch: Maximum number that shares a unit of work: those that are due together execute one after
            another and are committed at once. When one fails, all are rolled back, and each executes again
            in a unit of work of its own.

    Raises:
        TypeError: The function is not a coroutine function, or has a parameter that is not supported.
        ValueError: An option is out of its range.
    """

    def define(handler: Handler[P]) -> Job[P]:
        own_name: str = name or handler.__name__
        if not 0 < len(own_name) <= MAX_NAME:
            raise ValueError(f"job {own_name!r}: its name has more than {MAX_NAME} characters")
        if attempts < 1 or timeout_s <= 0 or (concurrency is not None and concurrency < 1):
            raise ValueError(f"job {own_name}: attempts, timeout_s and concurrency are positive numbers")
        if not 1 <= batch <= MAX_BATCH:
            raise ValueError(f"job {own_name}: batch is {batch}: use a number from 1 to {MAX_BATCH}")
        return Job(
            name=own_name,
            handler=handler,
            attempts=attempts,
            timeout_s=timeout_s,
            backoff=backoff or Backoff(base_s=1.0, cap_s=3600.0, jitter=0.5),
            concurrency=concurrency,
            arguments=_arguments(own_name, handler),
            batch=batch,
        )

    return define


def _arguments(name: str, handler: Callable[..., Any]) -> type[msgspec.Struct]:
    """Return a struct with the parameters of a job's function, except for the first."""
    if not inspect.iscoroutinefunction(handler):
        raise TypeError(f"job {name}: its function is not `async def`")
    parameters = list(inspect.signature(handler).parameters.values())
    if not parameters or parameters[0].kind is not inspect.Parameter.POSITIONAL_OR_KEYWORD:
        raise TypeError(f"job {name}: the first parameter of its function is not the JobContext")
    hints = get_type_hints(handler, include_extras=True)
    fields: list[Any] = []
    for parameter in parameters[1:]:
        if parameter.kind is not parameter.KEYWORD_ONLY or parameter.name not in hints:
            raise TypeError(
                f"job {name}: parameter {parameter.name!r} is not keyword-only (after `*`) with a type"
            )
        field: Any = (parameter.name, hints[parameter.name])
        fields.append(field if parameter.default is parameter.empty else (*field, parameter.default))
    return msgspec.defstruct(name, fields, kw_only=True, forbid_unknown_fields=True)
