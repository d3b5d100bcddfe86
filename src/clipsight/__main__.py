"""`python -m clipsight` is the command `clipsight`."""

import sys

from clipsight.cli import main

sys.exit(main())
