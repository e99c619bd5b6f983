"""Templates for devices that compute with tiles: the loop level with tile loops (lang/loops.py).

A program of the grid computes one tile of the results. Groups, definitions and accesses are those
of every device; what is chosen here is the shape of tiles and where the sums are cut.
"""
