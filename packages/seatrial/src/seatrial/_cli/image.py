"""The command `image`."""

import argparse

from .._config.model import Config
from .._image.content import layer_report
from .._image.read import read_image
from .._image.subject import ImageSubject
from .._run.budget import Budget
from .command import Trial, TrialCommand

_MIB = 1 << 20


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "image",
        metavar="REF|TAR",
        help="archive of `docker save` or of an OCI layout (also gzip or zstd), directory of an OCI layout, "
        "'-' for an archive on standard input, or name of an image of the Docker daemon",
    )


def _prepare(arguments: argparse.Namespace, config: Config, _budget: Budget) -> Trial:
    image = read_image(arguments.image)
    found = {
        "digest": image.digest,
        "platform": image.platform,
        "files": f"{image.file_bytes / _MIB:.1f} MiB in {len(image.layers)} layers",
        **layer_report(image),
    }
    return Trial(target=image.name, subject=ImageSubject(image, config.image.max_size_mib), found=found)


IMAGE = TrialCommand("image", "inspect an image, with or without a Docker daemon", _add_arguments, _prepare)
