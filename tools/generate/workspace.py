"""The services in the root `pyproject.toml`: workspace members and import contracts."""

from collections.abc import Sequence

from ..registry import Service


def quoted(services: Sequence[Service]) -> str:
    """Return the names of the services, a line each."""
    return "\n".join(f'"{service.name}",' for service in services)


def sources(services: Sequence[Service]) -> str:
    """Return the services as sources of uv."""
    return "\n".join(f"{service.name} = {{ workspace = true }}" for service in services)


def layer(services: Sequence[Service]) -> str:
    """Return the layer of the services, above all packages."""
    return f'"{" | ".join(service.name for service in services)}",'


def layers(services: Sequence[Service]) -> str:
    """Return the import contracts of the services."""
    return "\n\n".join(
        _contract(package, layers) for service in services for package, layers in service.layers.items()
    )


def _contract(package: str, layers: Sequence[str]) -> str:
    return "\n".join([
        "[[tool.importlinter.contracts]]",
        f'name = "layers of {package}"',
        'type = "layers"',
        f'containers = ["{package}"]',
        "exhaustive = true",
        "layers = [",
        *(f'    "{layer}",' for layer in layers),
        "]",
    ])  # fmt: skip
