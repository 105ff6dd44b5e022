"""Random ids, which need not be hard to guess."""

import os
from collections.abc import Iterable
from itertools import chain
from random import Random
from struct import Struct
from typing import Final

_MADE_AT_ONCE: Final = 64
_TRACE_AND_SPAN: Final = Struct("24s")
_TRACE: Final = Struct("16s8x")
# Not the module's own: an application may seed that.
_random: Final = Random()  # noqa: S311 - ids, not secrets
random_bits: Final = _random.getrandbits

Ids = tuple[bytes, str, bytes]
_stock: Final[list[Ids]] = []


def request_ids() -> Ids:
    """Ids for a request: of its trace, 16 bytes, and its span, 8 bytes; its own, the former as text; and that
    as bytes. Many are made at once, which costs less.
    """
    while True:
        try:
            return _stock.pop()
        except IndexError:
            _stock.extend(_made())


def _made() -> Iterable[Ids]:
    size = _TRACE_AND_SPAN.size * _MADE_AT_ONCE
    made = random_bits(8 * size).to_bytes(size, "big")
    all_ids = chain.from_iterable(_TRACE_AND_SPAN.iter_unpack(made))
    texts = list(map(bytes.hex, chain.from_iterable(_TRACE.iter_unpack(made))))
    return zip(all_ids, texts, map(str.encode, texts), strict=True)


def _start_anew() -> None:
    _random.seed()
    _stock.clear()


# Else parent and child would go on with the same ones.
os.register_at_fork(after_in_child=_start_anew)
