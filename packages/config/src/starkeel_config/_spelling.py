"""Detection of misspelled names."""

import re
from collections.abc import Collection, Iterator, Mapping

# In shorter names a replaced letter is often another word (POST, HOST); only transposed letters count there.
_MIN_LENGTH = 6
_DIGITS = re.compile("[0-9]")


def misspelled_variables(
    names: Mapping[str, str], known: Collection[str], targets: Collection[str]
) -> Iterator[str]:
    """Yield a warning for each variable whose name is probably a misspelling of a target.

    Args:
        names: The environment. Values are read only to recognize Kubernetes service links (`tcp://...`).
        known: Correct names, never warned about.
        targets: Names that may have been intended.
    """
    for name in sorted(names):
        if name in known or not name.isascii() or names[name].startswith("tcp://"):
            continue
        # A name that differs only in digits is a second variable, not a typo: REDIS_URL2.
        without_digits = _DIGITS.sub("", name)
        intended = [each for each in close_names(name, targets) if _DIGITS.sub("", each) != without_digits]
        if name.upper() in targets:
            intended = [name.upper()]
        if intended:
            yield f"{name} is not read by this service: did you mean {' or '.join(intended)}?"


def close_names(name: str, targets: Collection[str]) -> list[str]:
    """Return the targets that `name` is one edit away from, sorted.

    An edit is an insertion, a deletion, or one of each, such as a replacement or a transposition. In short
    names only transpositions count.
    """
    candidates = [each for each in targets if abs(len(each) - len(name)) <= 1 and each != name]
    if not candidates:
        return []
    # Imported here: most processes have no misspelled variables.
    from difflib import get_close_matches

    # For lengths that differ by at most one, a ratio above this cutoff means a single edit.
    cutoff = max(0.0, 1 - 1.1 / max(len(name), 1))
    found = get_close_matches(name, candidates, n=len(candidates), cutoff=cutoff)
    return sorted(each for each in found if len(each) >= _MIN_LENGTH or sorted(each) == sorted(name))
