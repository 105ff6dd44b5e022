"""Random bits for ids, which need not be hard to guess."""

from random import Random
from typing import Final

# Not the module's own: an application may seed that.
random_bits: Final = Random().getrandbits  # noqa: S311 - ids, not secrets
