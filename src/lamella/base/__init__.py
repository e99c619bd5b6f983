"""Floor 1: the words every other floor shares.

Purpose: dtypes, extents, devices, pytrees, knobs and errors, as plain data.
May import: the standard library and third-party array/tree libraries only.
Read first: `dtypes.DType`, `extents.Symbol`, `errors.LamellaError`.
"""
