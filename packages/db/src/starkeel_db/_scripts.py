"""The migrations in a service's package, by Alembic."""

from argparse import Namespace
from importlib import import_module
from pathlib import Path
from typing import Any

from alembic.config import Config
from alembic.script import ScriptDirectory

from ._errors import MigrationError, NewerDatabaseError

_OURS = Path(__file__).with_name("_alembic")


class Scripts:
    """The revisions that the code knows, in one line without branches.

    Args:
        package: Name of the package they are in.
    """

    def __init__(self, package: str) -> None:
        self.folder = Path(str(import_module(package).__path__[0]))
        self._script = ScriptDirectory.from_config(self.config())

    def config(self, **attributes: Any) -> Config:
        """Return Alembic's configuration, which no file holds.

        Args:
            attributes: What `_alembic/env.py` needs.
        """
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
        heads = self._script.get_heads()
        if len(heads) > 1:
            raise MigrationError(
                f"the migrations have several ends, {', '.join(sorted(heads))}: "
                "set the `down_revision` of one to another"
            )
        return [script.revision for script in self._script.walk_revisions()][::-1]

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
