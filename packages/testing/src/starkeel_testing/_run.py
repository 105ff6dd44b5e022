"""What a run of pytest holds from its beginning to its end."""

from dataclasses import dataclass, field

import pytest

from ._missing import LeftOut
from ._shared import Door, SharedPostgres


@dataclass
class Run:
    """The state of one run, in this process."""

    postgres: SharedPostgres = field(default_factory=SharedPostgres)
    door: Door | None = None
    left_out: LeftOut = field(default_factory=LeftOut)

    def close(self) -> None:
        """End what was started."""
        if self.door is not None:
            self.door.close()
        self.postgres.close()


RUN = pytest.StashKey[Run]()
