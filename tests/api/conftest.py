"""LAMELLA_REFERENCE=1 evaluates by the ops' references."""

import importlib.util
import pathlib

_spec = importlib.util.spec_from_file_location(
    "standins", pathlib.Path(__file__).with_name("standins.py"))
_spec.loader.exec_module(importlib.util.module_from_spec(_spec))
