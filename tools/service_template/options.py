"""Options of a service that is made from the template, and the words that follow from them."""

import re
from collections.abc import Callable
from functools import cached_property
from typing import Final

import msgspec

_VOWELS: Final = "aeiou"


class Options(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, dict=True):
    """Options of a service that is made from the template.

    Attributes:
        name: Name of the service.
        resource: Name of its resource, in the singular.
        needs: As in the registry.
        calls: Services that it calls.
        issuer: The service that issues tokens.
        port: Port in development.
        admin_port: Admin port in development.
    """

    name: str
    resource: str
    needs: list[str]
    calls: list[str]
    issuer: str
    port: int
    admin_port: int

    @cached_property
    def words(self) -> Callable[[str], str]:
        """Replace the template's words in a text or a path."""
        plural, resource = plural_of(self.resource), self.resource
        path = f"/api/{self.name.replace('_', '-')}"
        one, many, collection = f"{self.name}_{resource}", f"{self.name}_{plural}", f"{path}/{plural}"
        if self.name.split("_")[-1] == plural:
            # Such as orders with the resource order: the service's name is that of the collection.
            one, many, collection = self.name.removesuffix(plural) + resource, self.name, path
        pairs = {
            "/api/depot/crates": collection,
            "/api/depot": path,
            "depot_crates": many,
            "depot_crate": one,
            "DepotCrates": _pascal(many),
            "DepotCrate": _pascal(one),
            "Depot": _pascal(self.name),
            "DEPOT": self.name.upper(),
            "depot": self.name,
            "CRATES": plural.upper(),
            "CRATE": resource.upper(),
            "Crates": plural.capitalize(),
            "Crate": resource.capitalize(),
            "crates": plural,
            "crate": resource,
            "Accounts": _pascal(self.issuer),
            "ACCOUNTS": self.issuer.upper(),
            "accounts": self.issuer,
        }
        pattern = re.compile("|".join(map(re.escape, pairs)))
        article = re.compile(r"(?<![A-Za-z])([Aa])(?=[ _]crate(?![a-z]))")

        def replace(text: str) -> str:
            if resource[0] in _VOWELS:
                text = article.sub(r"\1n", text)
            return pattern.sub(lambda found: pairs[found[0]], text)

        return replace


def default_resource(name: str) -> str:
    """Return the singular of the last part of a service's name if it is a plural, otherwise `item`."""
    last = name.split("_")[-1]
    if last.endswith(("us", "is", "ss")):
        return "item"
    endings = (("ies", "y"), ("es", ""), ("s", ""))
    candidates = [last.removesuffix(ending) + instead for ending, instead in endings if last.endswith(ending)]
    return next((noun for noun in candidates if len(noun) > 2 and plural_of(noun) == last), "item")


def plural_of(noun: str) -> str:
    """Return the plural of a regular English noun."""
    if noun.endswith(("s", "x", "z", "ch", "sh")):
        return f"{noun}es"
    if noun.endswith("y") and noun[-2:-1] not in _VOWELS:
        return f"{noun[:-1]}ies"
    return f"{noun}s"


def _pascal(name: str) -> str:
    return "".join(part.capitalize() for part in name.split("_"))
