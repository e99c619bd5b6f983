"""The lazy array: what it is, its operands, where a mask or an index points, when it is evaluated.

Read first: `array.Array`, then `values.force`.
"""
