"""`python -m cambook.cli` is the command `cambook`."""

from cambook.cli import main

if __name__ == "__main__":
    main()
