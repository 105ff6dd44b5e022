"""Random bits for ids, which need not be hard to guess."""

import os
from random import Random
from typing import Final

# Not the module's own: an application may seed that.
_random: Final = Random()  # noqa: S311 - ids, not secrets
random_bits: Final = _random.getrandbits
# Else parent and child would go on with the same ones.
os.register_at_fork(after_in_child=_random.seed)
