"""Measurements that anybody can repeat: `bench.ours`, `bench.compare`, `bench.overhead`.

Run from the repository's root with the package installed (or with PYTHONPATH=src).
"""
