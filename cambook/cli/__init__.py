"""The command line: `cambook`, also `python -m cambook.cli`."""


def main() -> None:
    """The `cambook` command."""
    from cambook.cli.commands import main
    from cambook.cli.printing import replace_unprintable

    replace_unprintable()
    main()
