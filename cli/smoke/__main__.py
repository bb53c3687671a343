"""`python -m cli.smoke`."""

import sys

from cli.smoke.command import main

if __name__ == "__main__":
    sys.exit(main())
