import subprocess
import sys

import starkeel_config


def test_the_public_surface_is_what_is_promised() -> None:
    assert sorted(starkeel_config.__all__) == [
        "ConfigurationError",
        "DeclarationError",
        "Documented",
        "Entry",
        "Environment",
        "Problem",
        "Reference",
        "Resolved",
        "Secret",
        "Section",
        "ServiceSettings",
        "Settings",
        "Variable",
        "load",
        "prefixed",
        "reference",
        "render_env_example",
        "render_markdown",
        "resolve",
    ]
    assert all(hasattr(starkeel_config, name) for name in starkeel_config.__all__)


def test_importing_it_loads_nothing_heavy() -> None:
    # `health`, run by every probe, imports it.
    heavy = "ast asyncio dataclasses hashlib hmac inspect litestar prometheus_client structlog urllib.request"
    # What msgspec itself brings is not ours to save.
    code = (
        "import sys, msgspec; before = set(sys.modules); import starkeel_config; "
        f"print(*sorted((set(sys.modules) - before) & set({heavy.split()!r})))"
    )

    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )

    assert done.stdout.split() == []


def test_loading_valid_settings_loads_nothing_heavy() -> None:
    code = (
        "import sys, msgspec; before = set(sys.modules)\n"
        "from starkeel_config import ServiceSettings, load\n"
        "load(ServiceSettings, {}, service='orders')\n"
        "print(*sorted((set(sys.modules) - before) & {'ast', 'dataclasses', 'hashlib', 'hmac', 'inspect'}))"
    )

    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )

    assert done.stdout.split() == []
