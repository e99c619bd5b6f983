"""Lamella: a deep learning system that knows its costs before it runs.

The public names are imported when they are first used, so that `import lamella` costs nothing.
"""

from importlib import import_module as _import

__version__ = "0.1.0"
__array_api_version__ = "2024.12"

_PACKAGES = ("api", "base", "cli", "data", "formats", "nn", "optim", "serve", "train")
_MODULES = {"debug": "api.programs.debug", "errors": "base.errors",
            "fft": "api.mathematics.fourier", "linalg": "api.mathematics.matrices",
            "random": "api.randomness.random", "tree": "base.tree"}
_HOMES = {
    "api.transforms.gradients": ("grad", "jvp", "linearize", "value_and_grad", "vjp"),
    "api.transforms.autocast": ("autocast",),
    "api.transforms.batching": ("vmap",),
    "api.transforms.jacobians": ("hessian", "hvp", "jacobian"),
    "api.transforms.custom": ("checkpoint", "custom_jvp", "custom_vjp"),
    "api.programs.debug": ("check",),
    "api.programs.associative": ("associative_scan",),
    "api.programs.control": ("cond", "fori_loop", "map", "scan", "switch", "while_loop"),
    "api.programs.compile": ("compile",),
    "api.programs.explain": ("explain", "measure", "memory_curve", "plan", "trace"),
    "api.programs.foreign": ("foreign",),
    "api.programs.op": ("op",),
    "api.programs.spec": ("spec",),
    "api.functions.inspection": ("__array_namespace_info__",),
    "base.events": ("recording",),
    "base.extents": ("symbol",),
    "base.dtypes": ("DType", "bfloat16", "complex128", "complex64", "float16", "float32", "float64",
                    "float8_e4m3fn", "float8_e5m2", "int16", "int32", "int64", "int8", "uint16",
                    "uint32", "uint64", "uint8"),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}


def __getattr__(name: str):
    if name.startswith("__") and name not in _HOME_OF:
        raise AttributeError(name)
    if name in _PACKAGES or name in _MODULES:
        found = _import(f"{__name__}.{_MODULES.get(name, name)}")
    elif name == "bool":
        found = _import(f"{__name__}.base.dtypes").bool_
    else:
        home = _import(f"{__name__}.{_HOME_OF.get(name, 'api.namespace')}")
        try:
            found = getattr(home, name)
        except AttributeError:
            raise AttributeError(f"module 'lamella' has no attribute {name!r}") from None
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    functions = _import(f"{__name__}.api.namespace")
    return sorted({"bool", "__version__", "__array_api_version__", *_PACKAGES, *_MODULES, *_HOME_OF,
                   *(n for n in vars(functions) if not n.startswith("_") and n != "annotations")})
