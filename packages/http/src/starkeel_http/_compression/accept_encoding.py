"""`Accept-Encoding` (RFC 9110, 12.5.3): which codings a client accepts, and which it prefers."""

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Final

IDENTITY: Final = "identity"
_MAX_LENGTH: Final = 1024
_ITEM: Final = re.compile(
    r"([!#$%&'*+.^_`|~0-9A-Za-z-]+)(?:[ \t]*;[ \t]*[qQ]=(0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?))?"
)
_IMPLICIT: Final = 0.0001
"""Weight of `identity` where it is not listed: acceptable, and below everything that is."""


class AcceptedCodings:
    """The codings that a request accepts.

    Args:
        header: `Accept-Encoding`; `None` without it, and the client accepts every coding. A malformed header
            accepts no coding but `identity`.
    """

    def __init__(self, header: bytes | None) -> None:
        self._weights = None if header is None else _weights(header)

    def weight(self, coding: str) -> float:
        """Return the weight of a coding from 0, not acceptable, to 1."""
        if self._weights is None:
            return 1.0
        implicit = self._weights.get("*", 0.0)
        if coding == IDENTITY:
            implicit = 0.0 if self._weights.get("*") == 0 else _IMPLICIT
        return self._weights.get(coding, implicit)

    def in_order(self, codings: tuple[str, ...]) -> tuple[str, ...]:
        """Return the acceptable ones of some codings and `identity`, the most preferred first.

        Equal weights keep the order of `codings`, with `identity` at the end; without the header it is first,
        as a client that does not mention codings may not decode any.
        """
        if self._weights is None:
            return (IDENTITY, *codings)
        weighted = [(coding, self.weight(coding)) for coding in (*codings, IDENTITY)]
        weighted.sort(key=lambda each: -each[1])
        return tuple(coding for coding, weight in weighted if weight)


def _weights(header: bytes) -> Mapping[str, float]:
    weights: dict[str, float] = {}
    if len(header) > _MAX_LENGTH:
        return weights
    for item in header.decode("latin-1").split(","):
        text = item.strip(" \t")
        if not text:
            # RFC 9110, 5.6.1.2.
            continue
        found = _ITEM.fullmatch(text)
        if found is None:
            return {}
        coding = found[1].lower()
        # RFC 9110, 8.4.1.3.
        weights["gzip" if coding == "x-gzip" else coding] = float(found[2] or 1)
    return weights


@lru_cache(1024)
def accepted_codings(header: bytes | None, codings: tuple[str, ...]) -> tuple[str, ...]:
    """Return the acceptable ones of some codings and `identity`, the most preferred first."""
    return AcceptedCodings(header).in_order(codings)
