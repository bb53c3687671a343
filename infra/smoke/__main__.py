"""`python -m infra.smoke`."""

import sys

from infra.smoke.command import main

if __name__ == "__main__":
    sys.exit(main())
