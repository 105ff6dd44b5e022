"""Check that the OpenAPI and AsyncAPI documents break no client of the released ones.

A version may allow it. Each service must also receive the events that others publish.

python -m tools.checks.api_compatibility              exit with 1 for a breaking change
python -m tools.checks.api_compatibility --release    make the current documents the released ones

A released document is a committed file, so that the check needs neither a history nor tags.
"""

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ..registry import ROOT
from .event_compatibility import breaking_event_changes, unmet_consumers
from .schema_subset import Subset

Document = Mapping[str, Any]

_METHODS = ("get", "put", "post", "delete", "patch")


def main() -> int:
    """Print the breaking changes of every service; return 1 if a version does not allow them."""
    given = _options()
    is_allowed = True
    for kind, changes in (("openapi", breaking_changes), ("asyncapi", breaking_event_changes)):
        documents = given.root / "docs" / kind
        for path in sorted(documents.glob("*.json")):
            released = documents / "released" / path.name
            if released.exists() and not _report(path, released, changes):
                is_allowed = False
            elif given.release:
                released.parent.mkdir(exist_ok=True)
                released.write_bytes(path.read_bytes())
            elif not released.exists():
                is_allowed = False
                sys.stderr.write(
                    f"{released.relative_to(given.root)} is missing: run `just release-openapi`\n"
                )
    unmet = list(unmet_consumers(given.root / "docs" / "asyncapi"))
    sys.stderr.writelines(f"{each}\n" for each in unmet)
    return 0 if is_allowed and not unmet else 1


def _report(path: Path, released: Path, breaking: Callable[[Document, Document], Iterator[str]]) -> bool:
    """Return whether a document may replace the released one; print why not."""
    old, new = json.loads(released.read_text()), json.loads(path.read_text())
    changes = list(breaking(old, new))
    before, after = old["info"]["version"], new["info"]["version"]
    if not changes or allows_breaking(before, after):
        return True
    for change in changes:
        sys.stderr.write(f"{path.name}: {change}\n")
    sys.stderr.write(
        f"{path.name}: {len(changes)} breaking changes since version {before}: keep what clients use, or set"
        f" the next {'minor' if before.startswith('0.') else 'major'} version of services/{path.stem}\n"
    )
    return False


def allows_breaking(before: str, after: str) -> bool:
    """Return whether a version may break clients of another (SemVer 2.0.0, 4 and 8)."""
    old, new = ([int(part) for part in version.split(".")[:2]] for version in (before, after))
    return new[0] > old[0] or (old[0] == new[0] == 0 and new[1] > old[1])


def breaking_changes(old: Document, new: Document) -> Iterator[str]:
    """Yield what a client of the old document cannot rely on in the new one."""
    for path, item in old["paths"].items():
        for method in (each for each in _METHODS if each in item):
            where = f"{method} {path}"
            operation = new["paths"].get(path, {}).get(method)
            if operation is None:
                yield f"{where}: is removed"
            else:
                yield from _Comparison(old, new, where).operation(item[method], operation)


class _Comparison:
    """Comparison of an operation in two documents."""

    def __init__(self, old: Document, new: Document, where: str) -> None:
        self._documents = old, new
        self._where = where
        self._requests = Subset(old, new, is_response=False)
        self._responses = Subset(new, old, is_response=True)

    def operation(self, old: Document, new: Document) -> Iterator[str]:
        if old.get("operationId") != new.get("operationId"):
            yield f"{self._where}: operationId is {new.get('operationId')}, not {old.get('operationId')}"
        yield from self._security(old, new)
        yield from self._parameters(old, new)
        yield from self._body(old.get("requestBody"), new.get("requestBody"))
        for status, response in old["responses"].items():
            if status < "400" and status not in new["responses"]:
                yield f"{self._where}: response {status} is removed"
            elif status in new["responses"]:
                yield from self._response(response, new["responses"][status], f"{self._where} {status}")

    def _security(self, old: Document, new: Document) -> Iterator[str]:
        """Yield a requirement that fulfils none of the old alternatives."""
        accepted = new.get("security") or [{}]
        for each in old.get("security") or [{}]:
            if not any(
                all(name in each and set(scopes) <= set(each[name]) for name, scopes in other.items())
                for other in accepted
            ):
                yield f"{self._where}: requires {accepted}, not {each or 'no authentication'}"

    def _parameters(self, old: Document, new: Document) -> Iterator[str]:
        before = {(each["in"], each["name"].lower()): each for each in old.get("parameters", ())}
        after = {(each["in"], each["name"].lower()): each for each in new.get("parameters", ())}
        for key, parameter in after.items():
            where = f"{self._where}: {parameter['in']} parameter {parameter['name']}"
            if key not in before:
                if parameter.get("required"):
                    yield f"{where}: is new and required"
                continue
            if parameter.get("required") and not before[key].get("required"):
                yield f"{where}: is now required"
            yield from self._requests.excess(before[key]["schema"], parameter["schema"], where)
        for kind, name in before.keys() - after.keys():
            yield f"{self._where}: {kind} parameter {name}: is removed"

    def _body(self, old: Document | None, new: Document | None) -> Iterator[str]:
        where = f"{self._where} body"
        if new is None:
            if old is not None:
                yield f"{where}: is removed"
            return
        if new.get("required") and not (old or {}).get("required"):
            yield f"{where}: is now required"
        for media_type, content in (old or {"content": {}})["content"].items():
            if media_type not in new["content"]:
                yield f"{where}: {media_type} is no longer accepted"
            else:
                yield from self._requests.excess(
                    content["schema"], new["content"][media_type]["schema"], where
                )

    def _response(self, old: Document, new: Document, where: str) -> Iterator[str]:
        for name in sorted((old.get("headers") or {}).keys() - (new.get("headers") or {}).keys()):
            yield f"{where}: header {name} is removed"
        for media_type, content in (old.get("content") or {}).items():
            after = (new.get("content") or {}).get(media_type)
            if after is None:
                yield f"{where}: {media_type} is removed"
            else:
                yield from self._responses.excess(after["schema"], content["schema"], where)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--release", action="store_true", help="replace the released documents")
    parser.add_argument("--root", type=Path, default=ROOT, help="the workspace (default: this repository)")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
