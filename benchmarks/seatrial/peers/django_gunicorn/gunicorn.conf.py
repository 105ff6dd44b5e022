"""As in gunicorn's documentation, and that of prometheus_client for several processes."""

import multiprocessing

from prometheus_client import multiprocess

workers = multiprocessing.cpu_count() * 2 + 1


def child_exit(server, worker):
    multiprocess.mark_process_dead(worker.pid)
