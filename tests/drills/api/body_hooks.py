"""Changes of generated bodies, where a rule of a service cannot be stated in a schema."""

from hashlib import sha256
from typing import Any
from uuid import uuid4

import schemathesis

_NEW_PASSWORDS = {("POST", "/api/users"): "password", ("PATCH", "/api/users/me"): "new_password"}
_TAKEN: set[str] = set()
_MIN_LENGTH, _MAX_LENGTH = 8, 128


@schemathesis.hook
def before_call(_: Any, case: Any, _kwargs: Any) -> None:
    """Make a body that satisfies the document satisfy the rules of the services."""
    case.body = _exact(case.body)
    name = _NEW_PASSWORDS.get((case.method.upper(), case.path))
    if name is not None and isinstance(case.body, dict):
        given = case.body.get(name)
        if isinstance(given, str) and _MIN_LENGTH <= len(given) <= _MAX_LENGTH:
            # Common passwords are refused.
            digest = sha256(given.encode(errors="replace")).hexdigest()
            case.body = {**case.body, name: f"quiet lighthouse {digest}"}
            email = case.body.get("email")
            if isinstance(email, str) and email in _TAKEN:
                # Otherwise most sequences would end with the 409 of a registered address.
                case.body["email"] = f"{uuid4().hex}@example.com"
            _TAKEN.add(str(email))


def _exact(value: Any) -> Any:
    """Return a value with integers for floats like 1.0, which JSON Schema counts as integers.

    The services reject them: numbers are decoded without coercion.
    """
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, dict):
        return {name: _exact(inner) for name, inner in value.items()}
    return [_exact(inner) for inner in value] if isinstance(value, list) else value
