"""String type for secrets."""

from collections.abc import Mapping
from typing import NoReturn, final

_MASK = "***"


@final
class Secret:
    """A string that is masked in logs, tracebacks, dumps and attribute dictionaries.

    Its repr, str and every format are `***`. It has no `__dict__`, and pickling raises, so that it cannot
    reach a cache, a queue or another process unnoticed. JSON encoders reject it, or write `***` when
    configured to fall back to `str`. Only `reveal` returns the text, which makes every use easy to find.

    Comparison takes constant time.

    Raises:
        TypeError: `text` is not a `str`; the message contains only its type.
    """

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        if not isinstance(text, str):
            raise TypeError(f"a Secret holds a str, not a {type(text).__name__}")
        object.__setattr__(self, "_text", text)

    _text: str

    def reveal(self) -> str:
        """Return the text. Call it where the text is used; do not store the result."""
        return self._text

    def __repr__(self) -> str:
        return f"Secret('{_MASK}')"

    def __str__(self) -> str:
        return _MASK

    def __format__(self, format_spec: str) -> str:
        return format(_MASK, format_spec)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        # Imported here: `hmac` loads OpenSSL, which few processes need at start.
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
        raise TypeError("a Secret cannot be pickled: load the settings again where they are needed")

    def __getstate__(self) -> NoReturn:
        raise TypeError("a Secret does not expose its state")


def _encoded(secret: Secret) -> bytes:
    # compare_digest accepts only ASCII str; lone surrogates must not raise here.
    return secret.reveal().encode("utf-8", "surrogatepass")
