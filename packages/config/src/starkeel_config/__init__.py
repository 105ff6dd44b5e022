"""Settings from environment variables, with all problems reported together."""

from typing import TYPE_CHECKING

from ._lazy import lazy_exports

if TYPE_CHECKING:
    from ._declare.settings import (
        Environment,
        ServiceContext,
        ServiceSettings,
        Settings,
        Variable,
        prefixed,
    )
    from ._declare.text_types import HttpUrl, ParsedStr
    from ._docs.reference import Documented, Reference, Section, reference
    from ._docs.render import render_env_example, render_markdown
    from ._errors import ConfigurationError, DeclarationError, Problem
    from ._plugins.hooks import (
        AsyncApiHook,
        BackupHook,
        CollectorsHook,
        CommandHook,
        ConnectHook,
        DrainHook,
        ExitCodeHook,
        FeaturesHook,
        IdempotencyStore,
        InquiriesHook,
        MainProcessHook,
        MigrateHook,
        MigrationSqlHook,
        ReadinessCriticalHook,
        ReadinessHook,
        RestoreHook,
        RetentionHook,
        RetentionScheduleHook,
        RevisionHook,
        SetLogLevelsHook,
        StartProcessHook,
        StopProcessHook,
        WorkHook,
        misspelled_hooks,
    )
    from ._read.load import Entry, Resolved, load, resolve
    from ._retry import Backoff, parse_retry_after
    from ._show.secret import Secret
    from ._tls import TlsFiles
else:
    __getattr__, __dir__ = lazy_exports(__name__, {
        "_declare.settings": [
            "Environment", "ServiceContext", "ServiceSettings", "Settings", "Variable", "prefixed",
        ],
        "_declare.text_types": ["HttpUrl", "ParsedStr"],
        "_docs.reference": ["Documented", "Reference", "Section", "reference"],
        "_docs.render": ["render_env_example", "render_markdown"],
        "_errors": ["ConfigurationError", "DeclarationError", "Problem"],
        "_plugins.hooks": [
            "AsyncApiHook", "BackupHook", "CollectorsHook", "CommandHook", "ConnectHook", "DrainHook",
            "ExitCodeHook", "FeaturesHook",
            "IdempotencyStore", "InquiriesHook", "MainProcessHook", "MigrateHook", "MigrationSqlHook",
            "ReadinessCriticalHook", "ReadinessHook", "RestoreHook", "RetentionHook", "RetentionScheduleHook",
            "RevisionHook", "SetLogLevelsHook",
            "StartProcessHook", "StopProcessHook", "WorkHook", "misspelled_hooks",
        ],
        "_read.load": ["Entry", "Resolved", "load", "resolve"],
        "_retry": ["Backoff", "parse_retry_after"],
        "_show.secret": ["Secret"],
        "_tls": ["TlsFiles"],
    })  # fmt: skip

__all__ = [
    "AsyncApiHook", "Backoff", "BackupHook", "CollectorsHook", "CommandHook", "ConfigurationError",
    "ConnectHook", "DeclarationError", "Documented", "DrainHook", "Entry", "Environment", "ExitCodeHook",
    "FeaturesHook", "HttpUrl", "IdempotencyStore",
    "InquiriesHook", "MainProcessHook", "MigrateHook", "MigrationSqlHook", "ParsedStr", "Problem",
    "ReadinessCriticalHook", "ReadinessHook", "Reference", "Resolved", "RestoreHook", "RetentionHook",
    "RetentionScheduleHook", "RevisionHook",
    "Secret", "Section", "ServiceContext", "ServiceSettings", "SetLogLevelsHook", "Settings",
    "StartProcessHook", "StopProcessHook", "TlsFiles", "Variable", "WorkHook", "lazy_exports", "load",
    "misspelled_hooks", "parse_retry_after", "prefixed", "reference", "render_env_example", "render_markdown",
    "resolve",
]  # fmt: skip
