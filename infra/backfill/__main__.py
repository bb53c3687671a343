"""`python -m infra.backfill`."""

import sys

from infra.backfill.command import main

if __name__ == "__main__":
    sys.exit(main())
