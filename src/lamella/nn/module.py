"""Module: an immutable pytree of arrays and constants."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..api.arrays.array import Array
from ..api.arrays.values import error
from ..base import tree
from ..base.errors import LamellaError

# Attributes that are neither children nor constants: the children's names, (these, the constants),
# (leaves, structure). The last two are remembered where they were looked for.
_OWN = ("_children", "_kept", "_flat")


class ModuleError(LamellaError, AttributeError):
    """A module's attribute was assigned after construction."""


class _Construction(type):
    """Ends a module's construction: from then on its attributes stay."""

    def __call__(cls, *args, **kwargs):
        module = super().__call__(*args, **kwargs)
        attributes = vars(module)
        _no_numpy(cls, attributes)
        attributes["_children"] = tuple(sorted(
            n for n, v in attributes.items() if _holds_arrays(v)))
        for name in attributes["_children"]:
            attributes[name] = _fixed(attributes[name])
        if any(hasattr(cls, n) for n in attributes if n != "_children"):
            cls._hides = True
        return module


def _no_numpy(cls: type, attributes: dict[str, Any]) -> None:
    """Refuse NumPy arrays: as constants they would have to be compared at every call."""
    for name, value in attributes.items():
        if any(isinstance(leaf, np.ndarray) for leaf in tree.leaves(value)):
            raise error(ModuleError, f"{cls.__name__}.{name} holds a NumPy array; write "
                                     "lamella.asarray(...), with stop_gradient where it is used "
                                     "if it is not to be trained")


def _fixed(value: Any) -> Any:
    """Lists as tuples: what a module holds does not change."""
    return tuple(map(_fixed, value)) if type(value) in (list, tuple) else value


def _is_fixed(value: Any) -> bool:
    """Whether no part of the value can change, so that its leaves may be remembered."""
    if type(value) is tuple:
        return all(map(_is_fixed, value))
    return isinstance(value, Array) or (isinstance(value, Module) and all(
        _is_fixed(vars(value)[n]) for n in value._children))


def _holds_arrays(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return any(map(_holds_arrays, value))
    if isinstance(value, dict):
        return any(map(_holds_arrays, value.values()))
    return isinstance(value, Array | Module)


class Module(metaclass=_Construction):
    """Base of layers and models. Subclass it, set attributes in `__init__`, define `__call__`.

    Attributes that are arrays, modules, or lists, tuples and dicts holding some are its children
    in the pytree; all others are constants. A change gives a new module: `m.replace(bias=b)`.
    """

    _children: tuple[str, ...]
    _hides = False      # an attribute may be found that is not the instance's own

    def __init_subclass__(cls, **kwargs):
        super().__init_subclass__(**kwargs)
        cls._hides = cls._hides or cls.__getattr__ is not Module.__getattr__
        tree.register(cls, Module._flatten, lambda constants, children:
                      _rebuilt(cls, constants, children))

    def __getattr__(self, name: str) -> Any:
        own = vars(self)
        if "_flat" not in own or "_children" in own:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}",
                                 name=name, obj=self)
        leaves, structure = own["_flat"]
        own.update(vars(tree.unflatten(structure, leaves)))
        if not _is_fixed(self):
            own.pop("_flat", None)
        return getattr(self, name)

    def __dir__(self):
        getattr(self, "_children", ())      # builds it
        return [n for n in super().__dir__() if n not in _OWN]

    def __setattr__(self, name: str, value: Any) -> None:
        if not vars(self).keys().isdisjoint(("_children", "_flat")):
            raise ModuleError(f"{type(self).__name__}.{name} cannot be assigned: a module does not "
                              f"change; make a new one with m.replace({name}=...)")
        super().__setattr__(name, value)

    def __delattr__(self, name: str) -> None:
        self.__setattr__(name, None)

    def replace(self, **changes) -> Any:
        """A module like this one with other values for some of its attributes."""
        had = self._children
        attributes = {n: v for n, v in vars(self).items() if n not in _OWN[1:]}
        for name in changes:
            if name not in attributes or name == "_children":
                known = ", ".join(n for n in attributes if n != "_children")
                raise ModuleError(
                    f"{type(self).__name__} has no attribute {name!r}; it has: {known}")
        _no_numpy(type(self), changes)
        attributes.update({n: _fixed(v) if _holds_arrays(v) else v for n, v in changes.items()})
        children = {n for n, v in changes.items() if _holds_arrays(v)}
        attributes["_children"] = tuple(sorted(children | set(had)))
        return _with(type(self), attributes)

    def __flatten__(self) -> tuple[list, Any]:
        """(leaves, structure), remembered where nothing inside can change."""
        found = vars(self).get("_flat")
        if found is None:
            leaves, structure = tree.flatten(self)
            found = leaves, tree.shared(structure)
            if _is_fixed(self):
                vars(self)["_flat"] = found
        return found

    @classmethod
    def __unflatten__(cls, leaves: list, structure: Any) -> Any:
        """The module of these leaves, which is built when somebody looks into it."""
        if cls._hides:
            return tree.unflatten(structure, leaves)
        return _with(cls, {"_flat": (leaves, structure)})

    def init_state(self) -> Any:
        """What a call changes (running statistics), by attribute; None where there is nothing."""
        found = {n: _state_of(vars(self)[n]) for n in self._children}
        found = {n: s for n, s in found.items() if s is not None}
        return found or None

    def _flatten(self):
        attributes = vars(self)
        names = self._children
        kept = attributes.get("_kept")
        if kept is None:
            kept = attributes["_kept"] = names, tuple([
                (n, v) for n, v in attributes.items() if n not in names and n not in _OWN])
        return [attributes[n] for n in names], kept, names

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(_lines(self))})"


def _rebuilt(cls: type, metadata: tuple, children) -> Any:
    names, constants = metadata
    module: Any = object.__new__(cls)
    attributes = module.__dict__
    attributes.update(constants)
    attributes.update(zip(names, children))     # as many: `names` is the children's own
    attributes["_children"], attributes["_kept"] = names, metadata
    return module


def _with(cls: type, attributes: dict) -> Any:
    module: Any = object.__new__(cls)
    vars(module).update(attributes)
    return module


def _state_of(value: Any) -> Any:
    if isinstance(value, Module):
        return value.init_state()
    if isinstance(value, list | tuple):
        found = [_state_of(v) for v in value]
        return found if any(s is not None for s in found) else None
    if isinstance(value, dict):
        named = {k: s for k, v in value.items() if (s := _state_of(v)) is not None}
        return named or None
    return None


def _lines(module: Module):
    getattr(module, "_children", ())        # builds it
    for name, value in vars(module).items():
        if name in _OWN:
            continue
        if isinstance(value, Array):
            yield f"{name}: {value.node.type}"
        else:
            yield f"{name}={getattr(value, '__name__', None) or repr(value)}"


def parameter_count(model: Any) -> int:
    """The number of elements of all floating arrays in a pytree."""
    return sum(a.size for a in tree.leaves(model) if isinstance(a, Array) and a.dtype.is_float)
