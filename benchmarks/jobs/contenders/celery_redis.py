"""Tasks of Celery 5: enqueue them, execute them, and print the jobs per second of both, and the CPU time.

A task inserts a row by SQLAlchemy in a transaction of its own (`session`), or by one statement of psycopg
(`apart`). A worker process with a pool of threads, as many as Starkeel executes jobs at the same time, each
with a connection of its own. A task is acknowledged after its effect, as a job of Starkeel is: with an
acknowledgement before, a crash would lose it. Messages are fetched ahead, as by Starkeel.
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
from sqlalchemy import create_engine, text
from sqlalchemy.orm import Session

CONCURRENCY = 10
app = Celery("notes", broker=os.environ["BROKER"])
app.conf.update(
    task_acks_late=True,
    task_ignore_result=True,
    worker_prefetch_multiplier=10,
    worker_send_task_events=False,
)
_own = threading.local()
_INSERT = text("INSERT INTO effects (number) VALUES (:number)")
_URL = os.environ["DATABASE"].replace("postgresql://", "postgresql+psycopg://")
engine = create_engine(_URL, pool_size=CONCURRENCY, max_overflow=0)


def connection():
    if not hasattr(_own, "connection"):
        _own.connection = psycopg.connect(os.environ["DATABASE"], autocommit=True)
    return _own.connection


@app.task(name="apart")
def apart(number):
    connection().execute("INSERT INTO effects (number) VALUES (%s)", (number,))


@app.task(name="session")
def session(number):
    with Session(engine) as own, own.begin():
        own.execute(_INSERT, {"number": number})


def main(count):
    figures = {}
    with psycopg.connect(os.environ["DATABASE"], autocommit=True) as database:
        database.execute("CREATE TABLE effects (number BIGINT)")
        for task in (session, apart):
            database.execute("TRUNCATE effects")
            began = time.perf_counter()
            with app.connection_for_write() as broker, app.amqp.Producer(broker) as producer:
                for number in range(count):
                    task.apply_async((number,), producer=producer)
            figures["enqueue"] = count / (time.perf_counter() - began)
            command = [sys.executable, "-m", "celery", "-A", "celery_redis", "worker", "--pool", "threads"]
            command += ["-c", str(CONCURRENCY), "-l", "error", "--without-gossip", "--without-mingle"]
            worker = subprocess.Popen(command, cwd=os.path.dirname(__file__))
            try:
                figures[task.name], figures[f"{task.name}_cpu_us"] = measured(database, count, worker.pid)
            finally:
                worker.send_signal(signal.SIGTERM)
                worker.wait()
    sys.stdout.write(json.dumps(figures))


def measured(database, count, pid):
    """Return tasks per second and CPU time from the first effect: the start of the process does not count."""
    first, began, cpu_began = 0, 0.0, 0.0
    while True:
        done = database.execute("SELECT count(*) FROM effects").fetchone()[0]
        if done and not first:
            first, began, cpu_began = done, time.perf_counter(), cpu_s(pid)
        if done >= count:
            seconds, cpu = time.perf_counter() - began, cpu_s(pid) - cpu_began
            return (count - first) / seconds, cpu / (count - first) * 1e6
        time.sleep(0.02)


def cpu_s(pid):
    """Return the CPU time of a process in seconds."""
    with open(f"/proc/{pid}/stat") as stat:
        user, system = stat.read().rpartition(")")[2].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    main(int(sys.argv[2]))
