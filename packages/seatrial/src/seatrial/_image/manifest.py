"""Configuration and layers of an image in an archive or layout: Docker's and OCI's formats.

Sources: https://github.com/opencontainers/image-spec/blob/main/image-layout.md and
https://github.com/moby/docker-image-spec/blob/main/spec.md
"""

import json
import platform
import re
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final

from .._static.fields import FieldError, Fields
from .errors import ImageError
from .store import Store

_MAX_DOCUMENT_BYTES: Final = 8 << 20
_MAX_MANIFESTS: Final = 200
_INDEX_TYPES = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
)
_DIGEST = re.compile(r"sha256:([0-9a-f]{64})")
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
# What tools write for documents that they attach: cosign, oras, BuildKit.
_PREDICATE = "in-toto.io/predicate-type"


@dataclass(frozen=True, slots=True)
class Parts:
    """Places of the parts of an image in a store.

    Attributes:
        config: The parsed configuration.
        digest: Its digest.
        layers: Paths of the layers, lowest first.
        attestations: Predicate types of attached documents.
    """

    config: Fields
    digest: str
    layers: tuple[str, ...]
    attestations: tuple[str, ...]


def find_parts(store: Store) -> Parts:
    """Find the image of a store; of several platforms, that of this machine.

    Raises:
        ImageError: There is none, or several, or a document is damaged.
    """
    try:
        if (index := _document(store, "index.json")) is not None:
            return _oci_parts(store, index)
        if (manifest := _raw_document(store, "manifest.json")) is not None:
            return _docker_parts(store, manifest)
    except FieldError as error:
        raise ImageError(f"{store.name} is damaged: {error}") from error
    raise ImageError(
        f"{store.name} is not an image: it has neither `index.json` (OCI layout) "
        "nor `manifest.json` (docker save)"
    )


def _docker_parts(store: Store, manifest: Any) -> Parts:
    images = Fields({"images": manifest}, "manifest.json").each("images")
    if len(images) != 1:
        names = (
            ", ".join(sorted(tag for image in images for tag in image.texts("RepoTags"))) or "without names"
        )
        raise ImageError(
            f"{store.name} has {len(images)} images ({names}); save one: docker save NAME -o image.tar"
        )
    path = images[0].text("Config")
    data = _read(store, path)
    config = Fields(_parse(data, path), path)
    return Parts(config, f"sha256:{sha256(data).hexdigest()}", images[0].texts("Layers"), ())


def _oci_parts(store: Store, index: Fields) -> Parts:
    images, attached = [], []
    for descriptor, manifest in _manifests(store, index):
        types = _attached_types(descriptor, manifest)
        if types is None:
            images.append((descriptor, manifest))
        else:
            attached.append((types, _subject(descriptor, manifest)))
    descriptor, manifest = _chosen(store, images)
    data = _blob(store, manifest.fields("config").text("digest"))
    return Parts(
        Fields(_parse(data, "the configuration"), "the configuration"),
        manifest.fields("config").text("digest"),
        tuple(_blob_path(layer.text("digest")) for layer in manifest.each("layers")),
        tuple(
            name
            for types, subject in attached
            if subject in {"", descriptor.text("digest")}
            for name in types
        ),
    )


def _manifests(store: Store, index: Fields) -> Iterable[tuple[Fields, Fields]]:
    """Yield the manifests with their descriptors; indexes inside the index are followed."""
    pending = index.each("manifests")
    seen = 0
    while pending:
        seen += 1
        if seen > _MAX_MANIFESTS:
            raise ImageError(f"{store.name} has more than {_MAX_MANIFESTS} manifests")
        descriptor = pending.pop(0)
        digest = descriptor.text("digest")
        data = _read_if_present(store, _blob_path(digest))
        if data is None:
            # An archive of one platform lists the others without containing them.
            continue
        manifest = Fields(_parse(_checked(store, digest, data), digest), digest)
        if descriptor.text("mediaType") in _INDEX_TYPES or "manifests" in manifest:
            pending.extend(manifest.each("manifests"))
        else:
            yield descriptor, manifest


def _attached_types(descriptor: Fields, manifest: Fields) -> list[str] | None:
    """Return the types of the documents that a manifest attaches, or `None` for an image."""
    annotations = descriptor.fields("annotations")
    is_attestation = annotations.text("vnd.docker.reference.type") == "attestation-manifest"
    if not is_attestation and not manifest.text("artifactType") and "subject" not in manifest:
        return None
    names = [layer.fields("annotations").text(_PREDICATE) for layer in manifest.each("layers")]
    names += [layer.text("mediaType") for layer in manifest.each("layers")]
    return [name for name in (manifest.text("artifactType"), *names) if name]


def _subject(descriptor: Fields, manifest: Fields) -> str:
    """Return the digest of the image to which documents are attached."""
    annotations = descriptor.fields("annotations")
    return manifest.fields("subject").text("digest") or annotations.text("vnd.docker.reference.digest")


def _chosen(store: Store, images: list[tuple[Fields, Fields]]) -> tuple[Fields, Fields]:
    digests = {descriptor.text("digest"): (descriptor, manifest) for descriptor, manifest in images}
    images = list(digests.values())
    if len(images) > 1:
        machine = _ARCHITECTURES.get(platform.machine(), platform.machine())
        images = [
            (descriptor, manifest)
            for descriptor, manifest in images
            if descriptor.fields("platform").text("os") == "linux"
            and descriptor.fields("platform").text("architecture") == machine
        ]
    if len(images) != 1:
        raise ImageError(
            f"{store.name} has {len(digests)} images, of which {len(images)} are for this machine; "
            "save one image of one platform: docker save --platform linux/amd64 NAME -o image.tar"
        )
    return images[0]


def _blob_path(digest: str) -> str:
    if (match := _DIGEST.fullmatch(digest)) is None:
        raise ImageError(f"the digest {digest!r} is not `sha256:` with 64 hexadecimal digits")
    return f"blobs/sha256/{match[1]}"


def _blob(store: Store, digest: str) -> bytes:
    return _checked(store, digest, _read(store, _blob_path(digest)))


def _checked(store: Store, digest: str, data: bytes) -> bytes:
    if f"sha256:{sha256(data).hexdigest()}" != digest:
        raise ImageError(f"{store.name} is damaged: the content of {digest} has another digest")
    return data


def _document(store: Store, path: str) -> Fields | None:
    parsed = _raw_document(store, path)
    return None if parsed is None else Fields(parsed, path)


def _raw_document(store: Store, path: str) -> Any:
    data = _read_if_present(store, path)
    return None if data is None else _parse(data, path)


def _read(store: Store, path: str) -> bytes:
    if (data := _read_if_present(store, path)) is None:
        raise ImageError(f"{store.name} is incomplete: {path!r} is missing")
    return data


def _read_if_present(store: Store, path: str) -> bytes | None:
    if (file := store.open(path)) is None:
        return None
    with file:
        data = file.read(_MAX_DOCUMENT_BYTES + 1)
    if len(data) > _MAX_DOCUMENT_BYTES:
        raise ImageError(f"{path!r} of {store.name} has more than {_MAX_DOCUMENT_BYTES} bytes")
    return data


def _parse(data: bytes, path: str) -> Any:
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        raise ImageError(f"{path} is not valid JSON: {error}") from error
