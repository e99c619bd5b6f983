"""`python -m lamella`: the same as the `lamella` command."""

from .cli.main import main

main()
