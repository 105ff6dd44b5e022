"""Tasks of Celery 5: enqueue them, execute them in one process, and print the jobs per second of both.

A worker process with a pool of threads, as many as Starkeel executes at the same time, each with a connection
of its own. A task is acknowledged after its effect, as a job of Starkeel is: with an acknowledgement before,
a crash would lose it. Messages are fetched ahead, as by Starkeel.
"""

import json
import os
import signal
import subprocess
import sys
import threading
import time

import psycopg
from celery import Celery

CONCURRENCY = 10
app = Celery("notes", broker=os.environ["BROKER"])
app.conf.update(
    task_acks_late=True,
    task_ignore_result=True,
    worker_prefetch_multiplier=10,
    worker_send_task_events=False,
)
_own = threading.local()


def connection():
    if not hasattr(_own, "connection"):
        _own.connection = psycopg.connect(os.environ["DATABASE"], autocommit=True)
    return _own.connection


@app.task(name="note")
def note(number):
    connection().execute("INSERT INTO effects (number) VALUES (%s)", (number,))


def main(count):
    with psycopg.connect(os.environ["DATABASE"], autocommit=True) as database:
        database.execute("CREATE TABLE effects (number BIGINT)")
        began = time.perf_counter()
        with app.connection_for_write() as broker, app.amqp.Producer(broker) as producer:
            for number in range(count):
                note.apply_async((number,), producer=producer)
        enqueued = time.perf_counter() - began
        command = [sys.executable, "-m", "celery", "-A", "celery_redis", "worker", "--pool", "threads"]
        command += ["-c", str(CONCURRENCY), "-l", "error", "--without-gossip", "--without-mingle"]
        worker = subprocess.Popen(command, cwd=os.path.dirname(__file__))
        try:
            executed = measured(database, count)
        finally:
            worker.send_signal(signal.SIGTERM)
            worker.wait()
    sys.stdout.write(json.dumps({"enqueue": count / enqueued, "execute": executed}))


def measured(database, count):
    """Return tasks per second from the first effect, so that the start of the process does not count."""
    first, began = 0, 0.0
    while True:
        done = database.execute("SELECT count(*) FROM effects").fetchone()[0]
        if done and not first:
            first, began = done, time.perf_counter()
        if done >= count:
            return (count - first) / (time.perf_counter() - began)
        time.sleep(0.02)


if __name__ == "__main__":
    main(int(sys.argv[2]))
