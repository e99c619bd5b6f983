"""Floor 9: the stages in order, from a Program to something that runs.

Purpose: compile kernels (and remember them), bind a Plan to sizes, run it; uncompiled evaluation.
May import: everything from base to runtime.
Read first: `executable.Executable`, `kernels.addresses`, `eager.evaluate`.
"""
