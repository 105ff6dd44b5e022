"""Settings from the environment, all problems reported at once."""

from ._errors import ConfigurationError, DeclarationError, Problem
from ._load import Entry, Resolved, load, resolve
from ._secret import Secret
from ._settings import Environment, ServiceSettings, Settings, Variable, prefixed

__all__ = [
    "ConfigurationError",
    "DeclarationError",
    "Entry",
    "Environment",
    "Problem",
    "Resolved",
    "Secret",
    "ServiceSettings",
    "Settings",
    "Variable",
    "load",
    "prefixed",
    "resolve",
]
