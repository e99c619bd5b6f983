"""Floor 15: the `lamella` command.

Purpose: train, plan, explain and serve from the command line; each error is one clear line.
May import: all floors, inside functions, so that `--help` starts fast.
Read first: `main.main`, `commands`, `recipe.Recipe`.
"""
