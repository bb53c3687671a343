"""`python -m cli`, the same as `dermbatch`."""

import sys

from cli.app import main

sys.exit(main())
