"""Random trace, span and request ids; they are not secret."""

import os
from collections.abc import Iterable
from itertools import chain
from random import Random
from struct import Struct
from typing import Final

_BATCH_SIZE: Final = 64
_TRACE_AND_SPAN: Final = Struct("24s")
_TRACE: Final = Struct("16s8x")
# Not the global generator, which an application may seed.
_random: Final = Random()  # noqa: S311 - ids, not secrets
random_bits: Final = _random.getrandbits

Ids = tuple[bytes, str, bytes]
_stock: Final[list[Ids]] = []


def request_ids() -> Ids:
    """Return trace id (16 bytes) and span id (8 bytes) together, and the request id as text and as bytes.

    The request id is the hexadecimal trace id. Ids are generated in batches, which is faster.
    """
    while True:
        try:
            return _stock.pop()
        except IndexError:
            _stock.extend(_generate())


def _generate() -> Iterable[Ids]:
    size = _TRACE_AND_SPAN.size * _BATCH_SIZE
    generated = random_bits(8 * size).to_bytes(size, "big")
    all_ids = chain.from_iterable(_TRACE_AND_SPAN.iter_unpack(generated))
    texts = list(map(bytes.hex, chain.from_iterable(_TRACE.iter_unpack(generated))))
    return zip(all_ids, texts, map(str.encode, texts), strict=True)


def _reset() -> None:
    _random.seed()
    _stock.clear()


# Otherwise parent and child would return the same ids.
os.register_at_fork(after_in_child=_reset)
