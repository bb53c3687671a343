"""`python -m cli.backfill`."""

import sys

from cli.backfill.command import main

if __name__ == "__main__":
    sys.exit(main())
