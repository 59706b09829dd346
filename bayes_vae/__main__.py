"""``python -m bayes_vae``: the command line."""

import sys

from bayes_vae.cli import main

if __name__ == "__main__":
    sys.exit(main())
