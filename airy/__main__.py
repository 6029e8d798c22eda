"""`python -m airy` is `airy`."""

import sys

from airy.cli import main

sys.exit(main())
