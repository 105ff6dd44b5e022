"""The migrations in a service's package, by Alembic."""

import ast
import logging
from argparse import Namespace
from collections.abc import Iterator
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, String, column, inspect, select, table
from sqlalchemy.ext.asyncio import AsyncConnection

from .._base.errors import MigrationError, NewerDatabaseError

if TYPE_CHECKING:
    from alembic.config import Config
    from alembic.script import ScriptDirectory

VERSION_TABLES = "alembic_version"
"""What the name of a table that holds applied revisions begins with."""
_NAMES = ("revision", "down_revision", "branch_labels", "depends_on")
_OURS = Path(__file__).with_name("alembic")


class Scripts:
    """The revisions that the code knows, in one line without branches.

    Args:
        package: Name of the package they are in; its first part names the service.
    """

    def __init__(self, package: str) -> None:
        _quieten()
        self.folder = Path(str(import_module(package).__path__[0]))
        # Services that share a database must not take one another's revisions for their own.
        self.version_table = f"{VERSION_TABLES}_{package.partition('.')[0]}"
        self._line = revisions_in_line(self.folder)

    def config(self, **attributes: Any) -> "Config":
        """Return Alembic's configuration, which no file holds.

        Args:
            attributes: What `alembic/env.py` needs.
        """
        from alembic.config import Config

        config = Config(cmd_opts=Namespace(quiet=True), attributes=attributes)
        for name, value in (
            ("script_location", str(_OURS)),
            ("version_locations", str(self.folder)),
            ("path_separator", "newline"),
            ("file_template", "%(rev)s"),
            ("output_encoding", "utf-8"),
        ):
            config.set_main_option(name, value.replace("%", "%%"))
        return config

    def names(self) -> list[str]:
        """Every revision, the oldest first.

        Raises:
            MigrationError: They are not one line: two developers added one each, perhaps.
        """
        if self._line is not None:
            return list(self._line)
        heads = self._script.get_heads()
        if len(heads) > 1:
            raise MigrationError(
                f"the migrations have several ends, {', '.join(sorted(heads))}: "
                "set the `down_revision` of one to another"
            )
        return [script.revision for script in self._script.walk_revisions()][::-1]

    def reason_to_block(self, name: str) -> str:
        """Return why a revision blocks others on purpose; empty where it does not say so."""
        return str(getattr(self._script.get_revision(name).module, "blocking", ""))

    async def applied(self, connection: AsyncConnection) -> frozenset[str]:
        """Return what a database's version table holds; nothing where there is none."""
        return await connection.run_sync(self._applied)

    def missing(self, applied: frozenset[str], *, tolerate_newer: bool = False) -> list[str]:
        """Return what a database lacks, the oldest first.

        Args:
            applied: What its version table holds.
            tolerate_newer: Whether a database that knows more lacks nothing.

        Raises:
            NewerDatabaseError: It knows a revision that the code does not.
        """
        names = self.names()
        unknown = applied.difference(names)
        if unknown and tolerate_newer:
            return []
        if unknown:
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

    def _applied(self, connection: Connection) -> frozenset[str]:
        if not inspect(connection).has_table(self.version_table):
            return frozenset()
        found = column("version_num", String)
        versions = select(found).select_from(table(self.version_table))
        return frozenset(connection.execute(versions).scalars())


def _quieten() -> None:
    """Leave it to us to tell of migrations, unless someone asked for Alembic's lines."""
    logger = logging.getLogger("alembic")
    if logger.level == logging.NOTSET:
        logger.setLevel(logging.WARNING)


def revisions_in_line(folder: Path) -> list[str] | None:
    """Return every revision, the oldest first.

    Args:
        folder: Where their files are.

    Returns:
        None when they are not one plain line, or not plainly written: Alembic knows what to make of it.
    """
    following: dict[Any, str] = {}
    try:
        for path in folder.glob("*.py"):
            if path.name != "__init__.py":
                told = dict(_told(path))
                if told.get("branch_labels") or told.get("depends_on") or told["down_revision"] in following:
                    return None
                following[told["down_revision"]] = told["revision"]
    except (KeyError, TypeError, ValueError, SyntaxError):
        return None
    line = []
    before = None
    while before in following:
        before = following.pop(before)
        line.append(before)
    return None if following else line


def _told(path: Path) -> Iterator[tuple[str, Any]]:
    """What a revision says of itself."""
    for node in ast.parse(path.read_bytes()).body:
        if isinstance(node, ast.Assign):
            targets, value = node.targets, node.value
        elif isinstance(node, ast.AnnAssign) and node.value is not None:
            targets, value = [node.target], node.value
        else:
            continue
        for target in targets:
            if isinstance(target, ast.Name) and target.id in _NAMES:
                yield target.id, ast.literal_eval(value)
