"""A host function that fails when it is told to."""

import lamella


def raising(errors: list):
    """A function of an array that gives it back, or raises the first of `errors`."""
    @lamella.foreign(result=lambda x: x, name=f"test.raising.{id(errors)}", pure=False)
    def maybe(x):
        for e in errors:
            raise e
        return x

    return maybe
