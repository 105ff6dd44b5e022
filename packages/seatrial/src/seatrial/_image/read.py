"""Reading of an image from an archive, a layout or the Docker daemon."""

import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO, Final, cast

from .._static.fields import FieldError, Fields
from .decompress import Decompressed
from .docker_daemon import exported
from .errors import ImageError
from .manifest import Parts, find_parts
from .model import Config, Healthcheck, Image, Layer
from .store import ArchiveStore, DirectoryStore, Store
from .tar import Source, TarReader
from .tree import Tree

_CHUNK: Final = 1 << 20
_MAX_IMAGE_BYTES: Final = 32 << 30
"""Bytes of an archive, and of all layers uncompressed; the time to read them is what is limited."""
_MAX_LAYERS: Final = 500
_HEAD_BYTES: Final = 16_384
_MAX_HEADS: Final = 500
_DOCUMENTS = ("sbom", "bom.", "spdx", ".cdx.", "cyclonedx")
"""Parts of the names of files whose start is kept, besides the programs of the command line."""


def read_image(reference: str) -> Image:
    """Read an image; nothing of it is written to disk but an archive that is not a file.

    Args:
        reference: Path of an archive (`docker save`, OCI layout; gzip and zstd too) or of an OCI layout, `-`
            for an archive on standard input, or the name of an image of the Docker daemon.

    Raises:
        ImageError: It cannot be read.
    """
    path = Path(reference)
    if reference != "-" and path.is_dir():
        return _read(DirectoryStore(path), name=reference)
    with _archive(reference) as file:
        return _read(ArchiveStore(file, name=reference), name=reference)


@contextmanager
def _archive(reference: str) -> Iterator[BinaryIO]:
    """Yield a seekable, uncompressed archive."""
    path = Path(reference)
    if reference == "-":
        with _spooled(sys.stdin.buffer, name="standard input") as file, _uncompressed(file, "-") as plain:
            yield plain
    elif path.exists():
        try:
            file = path.open("rb")
        except OSError as error:
            raise ImageError(f"{reference} cannot be read: {error.strerror}") from error
        with file, _uncompressed(file, reference) as plain:
            yield plain
    elif reference.startswith(("/", "./", "../")) or reference.endswith((".tar", ".gz", ".tgz", ".zst")):
        raise ImageError(f"there is no file {reference!r}")
    else:
        with exported(reference) as body, _spooled(body, name=reference) as file:
            yield file


@contextmanager
def _uncompressed(file: BinaryIO, name: str) -> Iterator[BinaryIO]:
    data = Decompressed(file, name=name, limit=_MAX_IMAGE_BYTES)
    if data.is_compressed:
        with _spooled(data, name=name) as plain:
            yield plain
    else:
        yield file


@contextmanager
def _spooled(source: Source, *, name: str) -> Iterator[BinaryIO]:
    """Copy an archive to a temporary file: its list of layers may be at its end."""
    with tempfile.TemporaryFile() as file:
        size = 0
        while data := source.read(_CHUNK):
            size += len(data)
            if size > _MAX_IMAGE_BYTES:
                raise ImageError(f"{name} has more than {_MAX_IMAGE_BYTES} bytes, the limit of the reader")
            file.write(data)
        file.seek(0)
        yield cast("BinaryIO", file)


def _read(store: Store, *, name: str) -> Image:
    parts = find_parts(store)
    try:
        if parts.config.text("os", "linux") != "linux":
            raise ImageError(
                f"{store.name} is for {parts.config.text('os')}; only images of Linux are judged"
            )
        config = _config(parts.config.fields("config"), parts.config)
        tree, layers = _read_layers(store, parts, config)
        return Image(
            name,
            parts.digest,
            f"{parts.config.text('os', 'linux')}/{parts.config.text('architecture', 'unknown')}",
            config,
            layers,
            tree,
            parts.attestations,
        )
    except FieldError as error:
        raise ImageError(f"the configuration of {store.name} is not valid: {error}") from error


def _config(run: Fields, whole: Fields) -> Config:
    health = run.fields("Healthcheck")
    return Config(
        user=run.text("User"),
        working_directory=run.text("WorkingDir") or "/",
        entrypoint=run.texts("Entrypoint"),
        command=run.texts("Cmd"),
        environment=dict(_variable(each) for each in run.texts("Env")),
        labels=run.mapping("Labels"),
        healthcheck=Healthcheck(health.texts("Test")) if health.texts("Test") else None,
        stop_signal=run.text("StopSignal"),
        history=tuple(step.text("created_by") for step in whole.each("history")),
    )


def _variable(text: str) -> tuple[str, str]:
    name, _, value = text.partition("=")
    return name, value


def _read_layers(store: Store, parts: Parts, config: Config) -> tuple[Tree, tuple[Layer, ...]]:
    digests = parts.config.fields("rootfs").texts("diff_ids")
    if len(digests) != len(parts.layers):
        raise ImageError(
            f"{store.name} is damaged: {len(parts.layers)} layers, {len(digests)} digests of layers"
        )
    if len(digests) > _MAX_LAYERS:
        raise ImageError(f"{store.name} has more than {_MAX_LAYERS} layers")
    steps = [step.text("created_by") for step in parts.config.each("history") if not step.raw("empty_layer")]
    # Some builders write no history, or one for their own layers only.
    steps = steps if len(steps) == len(digests) else [""] * len(digests)
    tree, layers, left = Tree(), [], _MAX_IMAGE_BYTES
    heads = _KeptHeads(config)
    for number, (path, digest) in enumerate(zip(parts.layers, digests, strict=True)):
        layer, size = _read_layer(store, path, number=number, tree=tree, heads=heads, limit=left)
        if layer.digest != digest:
            raise ImageError(f"{store.name} is damaged: layer {number + 1} has not the digest {digest}")
        left -= size
        layers.append(replace(layer, created_by=steps[number]))
    return tree, tuple(layers)


def _read_layer(
    store: Store, path: str, *, number: int, tree: Tree, heads: "_KeptHeads", limit: int
) -> tuple[Layer, int]:
    """Add a layer's files to the tree; return it, and its uncompressed size."""
    file = store.open(path)
    if file is None:
        raise ImageError(f"{store.name} is incomplete: layer {path!r} is missing")
    name = f"layer {number + 1} of {store.name}"
    file_bytes = files = 0
    with file:
        data = Decompressed(file, name=name, limit=limit)
        reader = TarReader(data, name=name)
        for entry in reader:
            added = tree.add(entry, layer=number)
            files += 1
            file_bytes += entry.size
            if added is not None and entry.kind == "file" and heads.keep(entry.path):
                added.head = reader.read(_HEAD_BYTES)
        data.drain()
    return Layer(data.digest, "", store.size(path), data.is_compressed, file_bytes, files), data.size


class _KeptHeads:
    """Files whose start is kept."""

    def __init__(self, config: Config) -> None:
        # A script that starts the program; which file a word refers to follows from all layers.
        health = config.healthcheck.test if config.healthcheck else ()
        words = " ".join((*config.arguments, *health)).split()
        self._names = {word.strip("'\";").rpartition("/")[2] for word in words}
        self._left = _MAX_HEADS

    def keep(self, path: str) -> bool:
        name = path.rpartition("/")[2]
        is_kept = name in self._names or any(part in name.lower() for part in _DOCUMENTS)
        if is_kept:
            self._left -= 1
        return is_kept and self._left >= 0
