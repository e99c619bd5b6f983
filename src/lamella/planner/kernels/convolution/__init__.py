"""Products with windows: convolutions and their gradients, a template for each form.

Read first: `windows` (what a window is), then `direct`. `product` beside this folder chooses.
"""
