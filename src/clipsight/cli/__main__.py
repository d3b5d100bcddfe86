"""`python -m clipsight.cli`, for environments whose scripts folder is not on the path."""

import sys

from clipsight.cli.app import main

sys.exit(main())
