"""The garbage collector paused while a program is planned: many objects are made, no garbage.

What was made then counts as old: a collection of what is young need not look through all of it.
"""

from __future__ import annotations

import gc


class collection_paused:
    """No collections inside; what was enabled before is enabled again."""

    __slots__ = ("enabled",)

    def __enter__(self) -> None:
        self.enabled = gc.isenabled()
        gc.disable()

    def __exit__(self, *_) -> None:
        if not gc.get_freeze_count():   # all objects to the oldest generation, none is looked at
            gc.freeze()
            gc.unfreeze()
        if self.enabled:
            gc.enable()
