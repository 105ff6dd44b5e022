"""Request ids, generated in batches, are unique across processes."""

import subprocess
import sys

import pytest
from starkeel_observability._request import request

_CHILD_AND_PARENT = """
import os
from starkeel_observability._request.request import request_ids

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


def test_a_forked_process_does_not_repeat_ids_of_its_parent() -> None:
    command = [sys.executable, "-c", _CHILD_AND_PARENT]
    made = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip().split(",")

    assert len(made) == 401
    assert len(set(made)) == 401


def test_an_error_during_generation_affects_one_request(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: int) -> int:
        raise MemoryError

    request.id_stock.clear()
    with monkeypatch.context() as failing:
        failing.setattr(request, "random_bits", fail)
        with pytest.raises(MemoryError):
            request.request_ids()

    made, text, text_bytes = request.request_ids()
    assert made[:16].hex() == text == text_bytes.decode()
