"""`python -m roadseg` is `roadseg`."""

import sys

from roadseg.cli import main

sys.exit(main())
