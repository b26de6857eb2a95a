"""`python -m naht` is `naht`."""

import sys

from naht.cli.main import main

sys.exit(main())
