"""Special functions, matrices and Fourier transforms.

Read first: `special`.
"""
