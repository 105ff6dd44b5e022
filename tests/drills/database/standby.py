"""A synchronous standby of a PostgreSQL."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit, urlunsplit

from starkeel_testing import OwnPostgres, wait_until
from starkeel_testing._process.temporary_directory import temporary_directory
from starkeel_testing._wait import unused_port

from ...support.postgres import value

REPLICATION = {"wal_level": "replica", "max_wal_senders": "4", "hot_standby": "on", "fsync": "on"}


@contextmanager
def standby_of(primary: OwnPostgres) -> Iterator[OwnPostgres]:
    """Run a synchronous standby; the primary is restarted for it and waits for it on each commit."""
    primary.stop()
    primary.start(**REPLICATION)
    user = primary.user
    with temporary_directory("starkeel-standby-", owner=user) as directory:
        data = directory / "data"
        command = [primary.programs / "pg_basebackup", "--dbname", primary.url, "--pgdata", data]
        done = subprocess.run(
            [*command, "--write-recovery-conf", "--checkpoint=fast", "--no-sync"],
            cwd=directory,
            capture_output=True,
            text=True,
            check=False,
            **user.popen_arguments,
        )
        assert done.returncode == 0, done.stderr
        password = str(urlsplit(primary.url).password)
        standby = OwnPostgres(primary.programs, data, user, password=password, port=unused_port())
        try:
            standby.start(**REPLICATION)
            primary.stop()
            primary.start(**REPLICATION, synchronous_standby_names="*", synchronous_commit="on")
            streams = "SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'"
            wait_until(lambda: value(primary.url, streams) == 1, timeout_s=60, what=standby.output)
            yield standby
        finally:
            standby.close()


def both(first: OwnPostgres, second: OwnPostgres) -> str:
    """Return one URL for two servers that connects to the writable one."""
    parts = urlsplit(first.url)
    netloc = f"{parts.netloc},{urlsplit(second.url).netloc.rpartition('@')[2]}"
    return urlunsplit(parts._replace(netloc=netloc, query="target_session_attrs=read-write"))
