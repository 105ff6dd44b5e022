"""The migrations in a service's package.

Importing Alembic takes a tenth of a service's start, so revisions are read from their files with `ast`;
Alembic is used only where a migration is applied or the files are not plain.
"""

import ast
import logging
from collections.abc import Iterator, Sequence
from functools import cached_property
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, String, column, inspect, select, table
from sqlalchemy.ext.asyncio import AsyncConnection

from .._base.errors import MigrationError, NewerDatabaseError
from .history import History, check_newer, needs

if TYPE_CHECKING:
    from alembic.config import Config
    from alembic.script import ScriptDirectory

VERSION_TABLES = "alembic_version"
"""Prefix of the tables that hold the applied revisions."""
_NAMES = ("revision", "down_revision", "branch_labels", "depends_on")
# Stands for a parsed command line: `argparse` is not needed elsewhere in a worker.
_QUIET: Any = SimpleNamespace(quiet=True)
_ENVIRONMENT = Path(__file__).with_name("alembic")


class Scripts:
    """The revisions of a service, a single line without branches.

    Args:
        package: Name of the migrations package; its first part is the name of the service.
    """

    def __init__(self, package: str) -> None:
        # Alembic's INFO messages repeat those of this package.
        logger = logging.getLogger("alembic")
        if logger.level == logging.NOTSET:
            logger.setLevel(logging.WARNING)
        self._folder = _folder_of(package)
        # One table per service, so that services can share a database.
        self.service = package.partition(".")[0]
        self.version_table = f"{VERSION_TABLES}_{self.service}"
        self.history = History(self.service)
        self._line = revisions_in_line(self._folder)

    def config(self, connection: Connection | None = None, **options: Any) -> "Config":
        """Return an Alembic configuration, which replaces `alembic.ini`; options are of its environment."""
        from alembic.config import Config

        options["version_table"] = self.version_table
        options["on_version_apply"] = [self.history.record, *options.get("on_version_apply", ())]
        attributes = {"connection": connection, "options": options}
        config = Config(cmd_opts=_QUIET, attributes=attributes)
        for name, value in (
            ("script_location", str(_ENVIRONMENT)),
            ("version_locations", str(self._folder)),
            ("path_separator", "newline"),
            ("file_template", "%(rev)s"),
            ("output_encoding", "utf-8"),
        ):
            config.set_main_option(name, value.replace("%", "%%"))
        return config

    def names(self) -> list[str]:
        """Return all revisions, oldest first.

        Raises:
            MigrationError: They have several heads, for example because two developers added one each.
        """
        if self._line is not None:
            return list(self._line)
        heads = self._script.get_heads()
        if len(heads) > 1:
            raise MigrationError(
                f"the migrations have several heads, {', '.join(sorted(heads))}: "
                "set the `down_revision` of one to another"
            )
        return [script.revision for script in self._script.walk_revisions()][::-1]

    def reason_to_block(self, name: str) -> str:
        """Return the `blocking` variable of a revision, the reason why it may block; empty if it has none."""
        return str(getattr(self._script.get_revision(name).module, "blocking", ""))

    def check_marks(self, names: Sequence[str]) -> None:
        """Check the `contracting` variables of revisions before they are applied.

        Raises:
            MigrationError: One names no earlier revision.
        """
        known = self.names()
        for name in names:
            needed = needs(self._script.get_revision(name))
            if needed is not None and needed not in known[: known.index(name) + 1]:
                raise MigrationError(
                    f"{name}: `contracting` is {needed!r}, which is no earlier revision; accepted: True, or"
                    " the oldest revision of code that still works"
                )

    def is_contracting(self, name: str) -> bool:
        """Return whether a revision is marked as one that older code does not work with."""
        return needs(self._script.get_revision(name)) is not None

    async def check_newer(self, connection: AsyncConnection, applied: frozenset[str]) -> bool:
        """Return whether a database has a revision that the code does not have, and the code works with it.

        Raises:
            NewerDatabaseError: The code does not work with it.
        """
        unknown = sorted(applied.difference(self.names()))
        if not unknown:
            return False
        history = await connection.run_sync(self.history.read)
        for head in unknown:
            check_newer(head, self.names(), history)
        return True

    async def applied(self, connection: AsyncConnection) -> frozenset[str]:
        """Return the content of the version table; empty if the table does not exist."""

        def read(connection: Connection) -> frozenset[str]:
            if not inspect(connection).has_table(self.version_table):
                return frozenset()
            found = column("version_num", String)
            versions = select(found).select_from(table(self.version_table))
            return frozenset(connection.execute(versions).scalars())

        return await connection.run_sync(read)

    async def status(self, connection: AsyncConnection) -> dict[str, Any]:
        """Return the current revision of a database and the missing ones, for operators."""
        applied = await self.applied(connection)
        names = self.names()
        unknown = sorted(applied.difference(names))
        return {
            "current": unknown[0] if unknown else next(iter(sorted(applied)), None),
            "newest": names[-1] if names else None,
            "pending": self.missing(applied, tolerate_newer=True),
            "is_newer_than_code": bool(unknown),
        }

    def missing(self, applied: frozenset[str], *, tolerate_newer: bool = False) -> list[str]:
        """Return the revisions that a database lacks, oldest first.

        Args:
            applied: Content of its version table.
            tolerate_newer: Whether to return an empty list for a database that has unknown revisions.

        Raises:
            NewerDatabaseError: The database has a revision that the code does not have.
        """
        names = self.names()
        unknown = applied.difference(names)
        if unknown:
            if tolerate_newer:
                return []
            raise NewerDatabaseError(
                f"the database is newer than the code: it is at {', '.join(sorted(unknown))}, "
                f"and the newest revision here is {names[-1] if names else 'none'}; "
                "deploy the code that migrated it"
            )
        done = max((names.index(name) + 1 for name in applied), default=0)
        return names[done:]

    @cached_property
    def _script(self) -> "ScriptDirectory":
        from alembic.script import ScriptDirectory

        return ScriptDirectory.from_config(self.config())


def _folder_of(package: str) -> Path:
    """Return the folder of a migrations package.

    Raises:
        MigrationError: It, or the package of the application, is not a package.
    """
    application, _, name = package.rpartition(".")
    try:
        return Path(str(import_module(package).__path__[0]))
    except (ModuleNotFoundError, AttributeError) as error:
        missing = getattr(error, "name", package)
        if missing is not None and missing not in {application, package}:
            # A module that it imports is missing.
            raise
        raise MigrationError(
            f"there is no package `{package}` for migrations: make the application a package, a folder"
            f" `{application.replace('.', '/')}` with `__init__.py` and `__main__.py`, and in it a folder"
            f" `{name}` with `__init__.py`"
        ) from error


def revisions_in_line(folder: Path) -> list[str] | None:
    """Return the revisions in a folder, oldest first.

    Returns:
        None if they are not a single line, or their variables are not literals.
    """
    following: dict[Any, str] = {}
    try:
        for path in folder.glob("*.py"):
            if path.name != "__init__.py":
                found = dict(_variables(path))
                is_plain = not found.get("branch_labels") and not found.get("depends_on")
                if not is_plain or found["down_revision"] in following:
                    return None
                following[found["down_revision"]] = found["revision"]
    except (KeyError, TypeError, ValueError, SyntaxError):
        return None
    line: list[str] = []
    while (before := line[-1] if line else None) in following:
        line.append(following.pop(before))
    return None if following else line


def _variables(path: Path) -> Iterator[tuple[str, Any]]:
    """Yield the variables that identify a revision."""
    for node in ast.parse(path.read_bytes()).body:
        if isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
            for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
                if isinstance(target, ast.Name) and target.id in _NAMES:
                    yield target.id, ast.literal_eval(node.value)
