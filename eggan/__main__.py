"""`python -m eggan`, the same as the command `eggan`."""

import sys

from eggan.cli import main

if __name__ == "__main__":
    sys.exit(main())
