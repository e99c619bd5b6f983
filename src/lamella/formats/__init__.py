"""Floor 12: model files. Reading one never executes anything that stands in it.

Purpose: `.lamella` files (program, weights, manifest) and safetensors.
May import: the floors up to `api`.
Read first: `lamella_file.save`, `lamella_file.load`.
"""
