"""The garbage collector paused while a program is planned: many objects are made, no garbage."""

from __future__ import annotations

import gc


class collection_paused:
    """No collections inside; what was enabled before is enabled again."""

    __slots__ = ("enabled",)

    def __enter__(self) -> None:
        self.enabled = gc.isenabled()
        gc.disable()

    def __exit__(self, *_) -> None:
        if self.enabled:
            gc.enable()
