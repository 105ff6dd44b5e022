"""Lines are written directly only if that does not block."""

import fcntl
import os
import subprocess
import sys
from collections.abc import Iterator

import pytest
from starkeel_observability._logs.fd_writer import FdWriter

CAN_LOCK = """
import fcntl, sys
try:
    fcntl.lockf(int(sys.argv[1]), fcntl.LOCK_EX | fcntl.LOCK_NB)
except BlockingIOError:
    sys.exit(1)
"""


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    reader, writer = os.pipe()
    yield reader, writer
    os.close(reader)
    os.close(writer)


def never() -> None:
    raise AssertionError


def is_locked(writer: int) -> bool:
    """Return whether another process finds the pipe locked."""
    command = [sys.executable, "-c", CAN_LOCK, str(writer)]
    return subprocess.run(command, pass_fds=[writer], check=False).returncode == 1


def test_lines_are_written_at_once_to_an_empty_pipe(pipe: tuple[int, int]) -> None:
    reader, writer = pipe
    lines = b"x" * 40_000 + b"\n"

    left = FdWriter(writer, never).write_at_once(lines)

    assert left == b""
    assert os.read(reader, 100_000) == lines
    assert not is_locked(writer)
    # The descriptor that is shared with other processes stays blocking.
    assert not fcntl.fcntl(writer, fcntl.F_GETFL) & os.O_NONBLOCK


def test_nothing_is_written_to_a_pipe_with_unread_data(pipe: tuple[int, int]) -> None:
    reader, writer = pipe
    os.write(writer, b"before\n")

    assert FdWriter(writer, never).write_at_once(b"after\n") is None

    assert os.read(reader, 100) == b"before\n"
    assert not is_locked(writer)


def test_nothing_is_written_while_another_process_writes(pipe: tuple[int, int]) -> None:
    _, writer = pipe
    holding = (
        "import fcntl, sys; fcntl.lockf(int(sys.argv[1]), fcntl.LOCK_EX); print('held', flush=True); input()"
    )
    command = [sys.executable, "-c", holding, str(writer)]
    with subprocess.Popen(command, pass_fds=[writer], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"held\n"

        assert FdWriter(writer, never).write_at_once(b"mine\n") is None

        other.communicate(b"\n", timeout=30)


def test_the_rest_of_a_partial_write_comes_next(
    pipe: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    reader, writer = pipe
    fd_writer = FdWriter(writer, never)
    capacity = fcntl.fcntl(writer, fcntl.F_GETPIPE_SZ)
    # Simulates a process that ignores the lock and writes after the check.
    monkeypatch.setattr(fd_writer, "_is_empty", lambda: True)
    os.write(writer, b"a" * (capacity - 4096))
    lines = b"b" * 10_000 + b"\n"

    left = fd_writer.write_at_once(lines)

    assert left == lines[4096:]
    assert is_locked(writer)
    assert os.read(reader, 2 * capacity) == b"a" * (capacity - 4096) + b"b" * 4096
    fd_writer.write(left)
    assert os.read(reader, 2 * capacity) == left
    assert not is_locked(writer)


def test_nothing_is_written_at_once_without_a_reader(pipe: tuple[int, int]) -> None:
    _, writer = pipe
    reader, lone = os.pipe()
    os.close(reader)
    os.dup2(lone, writer)
    os.close(lone)

    assert FdWriter(writer, never).write_at_once(b"line\n") is None
