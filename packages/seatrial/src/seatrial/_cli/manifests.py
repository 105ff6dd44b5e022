"""The command `manifests`."""

import argparse

from .._config.model import Config
from .._manifests.subject import read_manifests
from .._run.budget import Budget
from .command import Trial, TrialCommand


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "path",
        metavar="PATH",
        help="file or directory of Kubernetes manifests and compose files, or '-' for standard input, as "
        "the output of `kubectl kustomize`",
    )


def _prepare(arguments: argparse.Namespace, config: Config, _budget: Budget) -> Trial:
    subject = read_manifests(arguments.path, stop_s=config.stop_s or None)
    found = {
        "workloads": ", ".join(map(str, subject.cluster.workloads)),
        "services": ", ".join(subject.stack.services),
    }
    name = "standard input" if arguments.path == "-" else arguments.path
    return Trial(target=name, subject=subject, found={key: text for key, text in found.items() if text})


MANIFESTS = TrialCommand(
    "manifests", "judge Kubernetes manifests and compose files", _add_arguments, _prepare
)
