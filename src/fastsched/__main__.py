"""`python -m fastsched` is `fastsched`."""

import sys

from .cli import main

if __name__ == "__main__":
    sys.exit(main())
