"""Definitions, options and arguments of jobs."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from starkeel_jobs import JobContext, JobSettings, JobsPlugin, job


@job()
async def greet(_: JobContext, *, user_id: UUID, times: int = 1) -> None: ...


def test_arguments_are_typed() -> None:
    user_id = UUID(int=7)
    assert greet.decode(greet.encode(user_id=user_id)) == {"user_id": user_id, "times": 1}


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ({}, "missing required field `user_id`"),
        ({"user_id": "x"}, "Invalid UUID"),
        ({"user_id": UUID(int=1), "times": "2"}, "Expected `int`, got `str`"),
        ({"user_id": UUID(int=1), "other": 1}, "unknown field `other`"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(arguments: dict[str, Any], problem: str) -> None:
    with pytest.raises(TypeError, match=f"job greet: .*{problem}"):
        greet.encode(**arguments)


def test_positional_arguments_are_refused() -> None:
    with pytest.raises(TypeError, match="by name"):
        greet.encode(UUID(int=1))  # type: ignore[misc]


def test_large_arguments_are_refused() -> None:
    @job()
    async def archive(_: JobContext, *, text: str) -> None: ...

    with pytest.raises(ValueError, match="pass an id of the data"):
        archive.encode(text="x" * 1_000_001)


def test_functions_that_cannot_be_jobs_are_refused() -> None:
    def plain(_: JobContext) -> None: ...

    async def without() -> None: ...

    async def positional(_: JobContext, user_id: UUID) -> None: ...

    async def untyped(_: JobContext, *, user_id) -> None: ...  # type: ignore[no-untyped-def]

    for function, problem in (
        (plain, "async def"),
        (without, "first parameter"),
        (positional, "'user_id' is not keyword-only"),
        (untyped, "'user_id' is not keyword-only"),
    ):
        with pytest.raises(TypeError, match=problem):
            job()(function)  # type: ignore[type-var,arg-type]


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"run_at": datetime(2030, 1, 1)}, "no time zone"),  # noqa: DTZ001 - the purpose
        ({"priority": 101}, "from -100 to 100"),
        ({"unique_for": timedelta(0)}, "not positive"),
        ({"unique_key": "x"}, "without unique_for"),
    ],
)
def test_invalid_options_are_refused(options: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        greet.with_options(**options)


def test_valid_options_do_not_change_the_job() -> None:
    later = greet.with_options(run_at=datetime(2030, 1, 1, tzinfo=UTC), priority=5)
    assert later.options.priority == 5
    assert greet.options.priority == 0


def test_two_jobs_with_one_name_are_refused() -> None:
    @job(name="greet")
    async def other(_: JobContext) -> None: ...

    with pytest.raises(ValueError, match="two jobs have the name 'greet'"):
        JobsPlugin(JobSettings(), jobs=[greet, other])


@pytest.mark.parametrize("options", [{"attempts": 0}, {"timeout_s": 0}, {"concurrency": 0}])
def test_limits_are_positive(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="are positive numbers"):
        job(**options)(greet.handler)
