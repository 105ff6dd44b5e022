"""Subject of the rows about images."""

from dataclasses import dataclass

from .model import Image


@dataclass(frozen=True, slots=True)
class ImageSubject:
    """An image and the limits that are configured for it.

    Attributes:
        max_size_mib: Largest size of the files of all layers.
    """

    image: Image
    max_size_mib: int
