"""Subject of the rows about manifests."""

from dataclasses import dataclass

from .._static.fields import FieldError
from .compose import Stack
from .documents import ManifestError, read_documents
from .kubernetes import Cluster


@dataclass(frozen=True, slots=True)
class ManifestsSubject:
    """Manifests and compose files.

    Attributes:
        stop_s: Seconds from the stop signal to the exit of the service, at most; `None` if not configured.
    """

    cluster: Cluster
    stack: Stack
    stop_s: float | None


def read_manifests(source: str, *, stop_s: float | None) -> ManifestsSubject:
    """Read a file, a directory, or `-` for standard input.

    Raises:
        ManifestError: There is neither a Kubernetes manifest nor a compose file, or one is not valid.
    """
    try:
        documents = read_documents(source)
        cluster, stack = Cluster(documents), Stack(documents)
    except FieldError as error:
        raise ManifestError(f"{source}: {error}") from error
    if not cluster and not stack:
        raise ManifestError(f"{source} contains neither Kubernetes manifests nor a compose file")
    return ManifestsSubject(cluster, stack, stop_s)
