"""``python -m decametric`` is the command line too."""

from decametric.cli import main

if __name__ == "__main__":
    main()
