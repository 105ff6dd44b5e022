"""Ids that are made for many requests at once: no two get the same, in whichever process."""

import subprocess
import sys

import pytest
from starkeel_observability import _random

_CHILD_AND_PARENT = """
import os
from starkeel_observability._random import request_ids

first = request_ids()[1]
read, write = os.pipe()
child = os.fork()
made = [request_ids()[1] for _ in range(200)]
if not child:
    os.write(write, ",".join(made).encode())
    os._exit(0)
os.waitpid(child, 0)
print(",".join([first, *made, os.read(read, 65536).decode()]))
"""


def test_a_process_that_is_forked_does_not_go_on_with_its_parent_s() -> None:
    command = [sys.executable, "-c", _CHILD_AND_PARENT]
    made = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip().split(",")

    assert len(made) == 401
    assert len(set(made)) == 401


def test_an_error_while_they_are_made_is_that_of_one_request(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: int) -> int:
        raise MemoryError

    _random._stock.clear()
    with monkeypatch.context() as failing:
        failing.setattr(_random, "random_bits", fail)
        with pytest.raises(MemoryError):
            _random.request_ids()

    ids, text, text_bytes = _random.request_ids()
    assert ids[:16].hex() == text == text_bytes.decode()
