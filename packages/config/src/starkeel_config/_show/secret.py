"""A text that must not be seen."""

from collections.abc import Mapping
from typing import NoReturn, final

_SHOWN = "***"


@final
class Secret:
    """A text that no log, traceback, dump or dictionary of attributes shows.

    Its repr, str and every format are `***`; it has no `__dict__`; pickling it is refused, so that it cannot
    reach a cache, a queue or another process unnoticed; JSON encoders refuse it, or write `***` where they
    are told to fall back on `str`. Only `reveal` gives the text, which makes every use of it easy to find.

    Two secrets are compared in a time that does not depend on where they differ.

    Args:
        text: What to keep.

    Raises:
        TypeError: When it is not a `str`; the message names its type only.
    """

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        if not isinstance(text, str):
            raise TypeError(f"a Secret holds a str, not a {type(text).__name__}")
        object.__setattr__(self, "_text", text)

    _text: str

    def reveal(self) -> str:
        """The text itself: call it where the text is used, never to keep it."""
        return self._text

    def __repr__(self) -> str:
        return f"Secret('{_SHOWN}')"

    def __str__(self) -> str:
        return _SHOWN

    def __format__(self, format_spec: str) -> str:
        return format(_SHOWN, format_spec)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        # Imported here: `hmac` loads OpenSSL, which a start that compares nothing should not pay for.
        from hmac import compare_digest

        return compare_digest(_encoded(self), _encoded(other))

    def __hash__(self) -> int:
        return hash((Secret, self._text))

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError("a Secret cannot be changed")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError("a Secret cannot be changed")

    def __copy__(self) -> "Secret":
        return self

    def __deepcopy__(self, _memo: Mapping[int, object]) -> "Secret":
        return self

    def __reduce_ex__(self, _protocol: object) -> NoReturn:
        raise TypeError("a Secret is not pickled: load the settings again where they are needed")

    def __getstate__(self) -> NoReturn:
        raise TypeError("a Secret has no state to show")


def _encoded(secret: Secret) -> bytes:
    # compare_digest takes str only when it is ASCII; a lone surrogate must not raise here.
    return secret.reveal().encode("utf-8", "surrogatepass")
