"""Security events: log lines with a hash of the account, and a metric."""

import hmac
from collections.abc import Callable
from functools import cached_property
from typing import Literal, final, get_args

import structlog
from starkeel_observability import counter

log = structlog.get_logger(__name__)

SecurityEvent = Literal[
    "deactivated",
    "email_verified",
    "mail_limited",
    "one_time_token_refused",
    "password_changed",
    "password_refused",
    "password_reset",
    "refresh_token_reused",
    "service_client_refused",
    "sign_in_refused",
    "sign_in_slowed",
    "sign_up_refused",
]

_HASH_CHARACTERS = 32
_EVENTS = counter("security_events_total", "Security events by kind.", labels=("event",))
# Series that start at 0: the first event is an increase.
for _event in get_args(SecurityEvent):
    _EVENTS.labels(event=_event)


@final
class SecurityEvents:
    """Counts and logs security events.

    Log lines have an `account`: a keyed hash of the email address, which is the same for the same address and
    cannot be computed from a list of addresses without the key.

    Args:
        key: Returns the key; called at the first event.
    """

    def __init__(self, key: Callable[[], bytes]) -> None:
        self._read_key = key

    def log(self, event: SecurityEvent, message: str, *, email: str, **fields: str) -> None:
        """Count an event and log it.

        Args:
            event: Kind of the event.
            message: Message of the log line.
            email: Address of the account, registered or not.
            fields: Further fields of the log line.
        """
        log_account(event, message, account=self.account(email), **fields)

    def account(self, email: str) -> str:
        """Return the hash of an email address, regardless of letter case and surrounding whitespace."""
        digest = hmac.digest(self._key, email.strip().lower().encode("utf-8", "replace"), "sha256")
        return digest.hex()[:_HASH_CHARACTERS]

    @cached_property
    def _key(self) -> bytes:
        return self._read_key()


def log_account(event: SecurityEvent, message: str, *, account: str, **fields: str) -> None:
    """Count an event and log it with the hash of an account."""
    count(event)
    log.info(message, event_kind=event, account=account, **fields)


def count(event: SecurityEvent) -> None:
    """Count an event that is logged elsewhere."""
    _EVENTS.labels(event=event).inc()
