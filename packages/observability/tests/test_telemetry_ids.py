"""Ids that are made for many requests at once: no two get the same, in whichever process."""

import subprocess
import sys

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
