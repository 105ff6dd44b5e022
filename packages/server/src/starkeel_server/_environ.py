"""The one place that touches the environment: everything else is handed settings."""

import os

ENVIRON = os.environ  # noqa: TID251 - the entry of every service; it is read once and given to `load`
