"""Collections are paused while programs are planned."""

import gc
import weakref

from lamella.engine.pause import collection_paused


class Made:
    pass


def test_what_was_made_inside_is_old_and_still_collected():
    with collection_paused():
        assert not gc.isenabled()
        a, b = Made(), Made()
        a.other, b.other = b, a
    assert gc.isenabled()
    assert not any(x is a for x in gc.get_objects(generation=0))
    gone = weakref.ref(a)
    del a, b
    gc.collect()
    assert gone() is None


def test_what_a_user_froze_stays_so():
    gc.freeze()
    try:
        count = gc.get_freeze_count()
        with collection_paused():
            kept = [Made() for _ in range(10)]
        assert gc.get_freeze_count() == count and kept
    finally:
        gc.unfreeze()


def test_what_was_disabled_stays_so():
    gc.disable()
    try:
        with collection_paused():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()
