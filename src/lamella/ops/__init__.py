"""Floor 5: every operator's whole story, one file per family, and the composites.

Purpose: the ops that Programs are made of; a new op is one statement in its family's file.
May import: base, ir, lang, transform.
Read first: `pointwise`, `reduce`, `contract`.
"""

from . import composite, contract, index, move, notation, pointwise, random, reduce

__all__ = ["composite", "contract", "index", "move", "notation", "pointwise", "random", "reduce"]
