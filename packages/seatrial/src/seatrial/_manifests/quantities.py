"""Quantities of Kubernetes: `250m`, `128Mi`, `25%`."""

import math
import re
from typing import Final

_QUANTITY: Final = re.compile(r"(?P<number>[+-]?\d*\.?\d+)(?P<unit>[numkKMGTPE]i?|[eE][+-]?\d+)?")
_SHARE: Final = re.compile(r"(?P<number>[0-9]{1,9})(?P<percent>%?)")
_DECIMAL: Final = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_BINARY: Final = {"Ki": 10, "Mi": 20, "Gi": 30, "Ti": 40, "Pi": 50, "Ei": 60}


def quantity(text: str) -> float | None:
    """Return the number of a quantity, or `None` if it is absent or not valid."""
    if (match := _QUANTITY.fullmatch(text.strip())) is None:
        return None
    number, unit = float(match["number"]), match["unit"] or ""
    if unit in _BINARY:
        return number * 2.0 ** _BINARY[unit]
    if unit in _DECIMAL:
        return number * 10.0 ** _DECIMAL[unit]
    return float(match["number"] + unit) if unit[0] in "eE" else None


def share(text: str, total: int, *, round_up: bool) -> int | None:
    """Return a number of pods that is given as a number or a percentage of all, or `None`."""
    if (match := _SHARE.fullmatch(text)) is None:
        return None
    if not match["percent"]:
        return int(match["number"])
    exact = total * int(match["number"]) / 100
    return math.ceil(exact) if round_up else math.floor(exact)
