"""Image, as the rows judge it."""

from dataclasses import dataclass

from .tree import Tree


@dataclass(frozen=True, slots=True)
class Healthcheck:
    """`HEALTHCHECK` of a Dockerfile: `NONE`, or `CMD` or `CMD-SHELL` and what follows."""

    test: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Config:
    """Configuration with which a container starts.

    Source: https://github.com/opencontainers/image-spec/blob/main/config.md

    Attributes:
        environment: Variables by name.
        history: Commands of the build, oldest first.
    """

    user: str
    working_directory: str
    entrypoint: tuple[str, ...]
    command: tuple[str, ...]
    environment: dict[str, str]
    labels: dict[str, str]
    healthcheck: Healthcheck | None
    stop_signal: str
    history: tuple[str, ...]

    @property
    def arguments(self) -> tuple[str, ...]:
        """The command line of a container's first process."""
        return (*self.entrypoint, *self.command)


@dataclass(frozen=True, slots=True)
class Layer:
    """A layer of an image.

    Attributes:
        digest: Digest of its uncompressed archive.
        created_by: Command of the build that made it, or an empty string.
        stored_bytes: Bytes as they are stored, compressed or not.
        is_compressed: Whether the stored bytes are compressed.
        file_bytes: Bytes of its files.
        files: Number of its entries.
    """

    digest: str
    created_by: str
    stored_bytes: int
    is_compressed: bool
    file_bytes: int
    files: int


@dataclass(frozen=True, slots=True)
class Image:
    """An image of one platform.

    Attributes:
        name: Reference or path by which it was requested.
        digest: Digest of its configuration.
        platform: `OS/ARCHITECTURE`.
        attestations: Predicate types of the attestations that are stored with it.
    """

    name: str
    digest: str
    platform: str
    config: Config
    layers: tuple[Layer, ...]
    tree: Tree
    attestations: tuple[str, ...]

    @property
    def file_bytes(self) -> int:
        """Bytes of the files of all layers."""
        return sum(layer.file_bytes for layer in self.layers)
