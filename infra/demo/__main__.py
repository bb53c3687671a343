"""`python -m infra.demo`."""

import sys

from infra.demo.command import main

if __name__ == "__main__":
    sys.exit(main())
