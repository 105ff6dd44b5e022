"""`python -m starkeel_observability traces`: looks into running services."""

import sys

from ._view._program import main

if __name__ == "__main__":
    sys.exit(main())
