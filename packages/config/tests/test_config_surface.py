import subprocess
import sys

import starkeel_config


def test_public_names() -> None:
    assert sorted(starkeel_config.__all__) == [
        "AsyncApiHook",
        "Backoff",
        "BackupHook",
        "CollectorsHook",
        "CommandHook",
        "ConfigurationError",
        "ConnectHook",
        "DeclarationError",
        "Documented",
        "DrainHook",
        "Entry",
        "Environment",
        "ExitCodeHook",
        "FeaturesHook",
        "HttpUrl",
        "IdempotencyStore",
        "InquiriesHook",
        "MainProcessHook",
        "MigrateHook",
        "MigrationSqlHook",
        "ParsedStr",
        "Problem",
        "ReadinessCriticalHook",
        "ReadinessHook",
        "Reference",
        "Resolved",
        "RestoreHook",
        "RetentionHook",
        "RetentionScheduleHook",
        "RevisionHook",
        "Secret",
        "Section",
        "ServiceContext",
        "ServiceSettings",
        "SetLogLevelsHook",
        "Settings",
        "StartProcessHook",
        "StopProcessHook",
        "TlsFiles",
        "Variable",
        "WorkHook",
        "lazy_exports",
        "load",
        "misspelled_hooks",
        "parse_retry_after",
        "prefixed",
        "reference",
        "render_env_example",
        "render_markdown",
        "resolve",
    ]
    assert all(hasattr(starkeel_config, name) for name in starkeel_config.__all__)


def test_import_loads_no_expensive_modules() -> None:
    # The `health` command imports the package for every probe.
    heavy = "ast asyncio dataclasses hashlib hmac inspect litestar prometheus_client structlog urllib.request"
    # Imports of msgspec itself do not count.
    code = (
        "import sys, msgspec; before = set(sys.modules); import starkeel_config; "
        f"print(*sorted((set(sys.modules) - before) & set({heavy.split()!r})))"
    )

    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )

    assert done.stdout.split() == []


def test_loading_valid_settings_loads_no_expensive_modules() -> None:
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
