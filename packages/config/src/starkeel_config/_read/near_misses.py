"""Detection of misspelled variable names."""

import re
from collections.abc import Collection, Iterator, Mapping

# In shorter names a replaced letter is often another word (POST, HOST); only swapped letters count there.
_SHORT = 6
_DIGITS = re.compile("[0-9]")


def near_misses(names: Mapping[str, str], known: Collection[str], targets: Collection[str]) -> Iterator[str]:
    """Yield a warning for each variable whose name is one edit away from a target.

    Args:
        names: The environment. Values are read only to recognize Kubernetes service links (`tcp://...`).
        known: Correct names, never warned about.
        targets: Names that may have been intended.
    """
    for name in sorted(names):
        if name in known or not name.isascii() or names[name].startswith("tcp://"):
            continue
        meant = sorted(target for target in targets if _meant(name, target))
        if meant:
            yield f"{name} is not read by this service: did you mean {' or '.join(meant)}?"


def _meant(name: str, target: str) -> bool:
    if abs(len(name) - len(target)) > 1:
        return False
    if len(target) < _SHORT:
        return sorted(name) == sorted(target) and _one_edit(name, target)
    if name.upper() == target:
        return True
    # A second variable, not a typo: REDIS_URL2.
    numbered = _DIGITS.sub("", name) == _DIGITS.sub("", target)
    return not numbered and _one_edit(name, target)


def _one_edit(name: str, target: str) -> bool:
    """Return whether one insertion, deletion, replacement or swap of neighbours converts the names."""
    shorter, longer = sorted((name, target), key=len)
    at = next((i for i, (a, b) in enumerate(zip(shorter, longer, strict=False)) if a != b), len(shorter))
    rest, other = shorter[at:], longer[at:]
    if len(rest) < len(other):
        return rest == other[1:]
    swapped = rest[:2] == other[1::-1] and rest[2:] == other[2:]
    return swapped or rest[1:] == other[1:]
