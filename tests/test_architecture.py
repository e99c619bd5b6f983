"""The house rules, read from the source by AST: floors, cycles, third-party homes, sizes.

Every import counts: inside functions, under TYPE_CHECKING, and import_module("...") as well.
Each violation is one line, `file:line: what (the rule)`.
"""

from __future__ import annotations

import ast
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parent.parent / "src" / "lamella"
ROOT = "lamella"

# Lowest first. A package may import from itself and from the floors below it.
# fmt: off
FLOORS = [
    "base", "ir", "lang", "transform", "ops", "codegen", "planner", "runtime", "engine", "api",
    "nn", "optim", "data", "formats", "train", "dist", "serve", "cli",
]
# fmt: on
ONLY = {"runtime": {"base", "runtime"}}  # knows bytes, not IR
SHELVES = {  # packages whose folders have an order too, lowest first
    "api": [
        "arrays", "functions", "programs", "transforms", "mathematics", "randomness", "networks",
        "namespace",
    ],
}
ROOT_MAY = {"base", *FLOORS[FLOORS.index("api") :]}  # lamella/__init__.py
ROOT_NAMES = {"__version__"}  # what the floors may take from lamella/__init__.py

EVERYWHERE = {"numpy", "ml_dtypes", "optree", "msgspec", "rich"}
HOMES = {  # third party: the one file, or the one package (ending in /), that may import it
    "llvmlite": "runtime/llvm.py",
    "typer": "cli/",
    "click": "cli/",
    "starlette": "serve/",
    "uvicorn": "serve/",
}  # any other library: one file, whichever it is

MOST_FILE_LINES, MOST_FUNCTION_LINES, MOST_COLUMNS = 600, 80, 100
DATA_TABLES: set[str] = set()  # files of pure data that may be longer, relative to src/lamella


@dataclass(frozen=True)
class Module:
    """One source file: dotted name, path relative to the package, tree and lines."""

    name: str
    path: str
    tree: ast.Module
    lines: list[str]

    @property
    def package(self) -> str:
        is_package = self.path.endswith("__init__.py")
        return self.name if is_package else self.name.rpartition(".")[0]

    def at(self, line: int) -> str:
        return f"src/lamella/{self.path}:{line}"


@dataclass(frozen=True)
class Import:
    """`module` imports `target` (a dotted name) and from it `name` (None: the module itself)."""

    module: Module
    line: int
    target: str
    name: str | None

    @property
    def where(self) -> str:
        return f"{self.module.at(self.line)}: imports {self}"

    def __str__(self) -> str:
        return self.target if self.name is None else f"{self.name} from {self.target}"


def read_modules(source: Path) -> dict[str, Module]:
    modules = {}
    for file in sorted(source.rglob("*.py")):
        path = file.relative_to(source).as_posix()
        text = file.read_text(encoding="utf-8")
        name = ".".join([ROOT, *path.removesuffix(".py").split("/")]).removesuffix(".__init__")
        modules[name] = Module(name, path, ast.parse(text, path), text.splitlines())
    return modules


def read_imports(module: Module) -> list[Import]:
    found = []
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Import):
            found += [Import(module, node.lineno, a.name, None) for a in node.names]
        elif isinstance(node, ast.ImportFrom):
            target = absolute("." * node.level + (node.module or ""), module.package)
            found += [Import(module, node.lineno, target, a.name) for a in node.names]
        elif isinstance(node, ast.Call) and (name := imported_by_call(node)):
            found.append(Import(module, node.lineno, absolute(name, module.package), None))
    return found


def imported_by_call(node: ast.Call) -> str | None:
    """The literal of import_module("x") and __import__("x")."""
    called = node.func.attr if isinstance(node.func, ast.Attribute) else None
    called = node.func.id if isinstance(node.func, ast.Name) else called
    if called not in ("import_module", "__import__") or not node.args:
        return None
    first = node.args[0]
    is_text = isinstance(first, ast.Constant) and isinstance(first.value, str)
    return first.value if is_text else None


def absolute(name: str, package: str) -> str:
    """`.x` and `..x` as seen from `package`."""
    rest = name.lstrip(".")
    level = len(name) - len(rest)
    if level == 0:
        return name
    above = package.split(".")[: len(package.split(".")) - (level - 1)]
    return ".".join([*above, *([rest] if rest else [])])


def targets(imp: Import, modules: dict[str, Module]) -> list[str]:
    """The modules of ours that an import reaches: `from a import b` is a, and a.b if a module."""
    if imp.target.split(".")[0] != ROOT:
        return []
    inner = f"{imp.target}.{imp.name}"
    if imp.target == ROOT and inner in modules:
        return [inner]
    return [imp.target, inner] if inner in modules else [imp.target]


def floor_of(name: str) -> str | None:
    """`ops` for lamella.ops.reduce; None for the package itself."""
    return name.split(".")[1] if "." in name else None


def check_floors(modules: dict[str, Module]) -> list[str]:
    bad = []
    for module in modules.values():
        if module.path not in ("__init__.py", "__main__.py") and unknown(module.name):
            bad.append(
                f"{module.at(1)}: {floor_of(module.name)!r} is on no floor "
                "(rule: every package stands in FLOORS of tests/test_architecture.py)"
            )
            continue
        for imp in read_imports(module):
            for target in targets(imp, modules):
                if rule := broken_rule(module, imp, target):
                    bad.append(f"{imp.where} (rule: {rule})")
    return bad


def check_shelves(modules: dict[str, Module]) -> list[str]:
    bad = []
    for module in modules.values():
        shelves = SHELVES.get(floor_of(module.name) or "", [])
        here = shelf_of(module.name, shelves)
        if here is None:
            continue
        for imp in read_imports(module):
            for target in targets(imp, modules):
                ours = floor_of(target) == floor_of(module.name)
                there = shelf_of(target, shelves) if ours else None
                if there is not None and shelves.index(there) > shelves.index(here):
                    bad.append(f"{imp.where} (rule: {there} stands above {here} in SHELVES)")
    return bad


def shelf_of(name: str, shelves: list[str]) -> str | None:
    """`arrays` for lamella.api.arrays.values."""
    parts = name.split(".")
    return parts[2] if len(parts) > 2 and parts[2] in shelves else None


def unknown(name: str) -> bool:
    return floor_of(name) not in FLOORS


def broken_rule(module: Module, imp: Import, target: str) -> str | None:
    """The rule that an import of `target` breaks, or None."""
    there = floor_of(target)
    if module.path == "__main__.py":
        return None
    if module.path == "__init__.py":
        allowed = there is None or there in ROOT_MAY
        return None if allowed else "lamella/__init__.py takes from base, api and above only"
    if there is None:
        if imp.name in ROOT_NAMES:
            return None
        return "nothing inside imports lamella itself; name the package it comes from"
    if there not in FLOORS:
        return f"{there!r} is on no floor"
    here = floor_of(module.name)
    if here in ONLY and there not in ONLY[here]:
        return f"{here} imports only {', '.join(sorted(ONLY[here]))}"
    if FLOORS.index(there) > FLOORS.index(here):
        return f"an import goes down, never up: {there} stands above {here}"
    return None


def check_cycles(modules: dict[str, Module]) -> list[str]:
    edges: dict[str, dict[str, Import]] = {name: {} for name in modules}
    for name, module in modules.items():
        for imp in read_imports(module):
            for target in targets(imp, modules):
                if target in modules and target != name and imp.name not in ROOT_NAMES:
                    edges[name].setdefault(target, imp)
    bad = []
    for cycle in find_cycles(edges):
        for here, there in zip(cycle, [*cycle[1:], cycle[0]], strict=True):
            path = " -> ".join([*cycle, cycle[0]])
            bad.append(f"{edges[here][there].where} (rule: no import cycles: {path})")
    return bad


def find_cycles(edges: dict[str, dict[str, Import]]) -> list[list[str]]:
    """One cycle per group of modules that import each other, as a path of names."""
    cycles: list[list[str]] = []
    done: set[str] = set()
    for start in edges:
        if start in done:
            continue
        path, on_path = [start], {start}
        pending = [iter(edges[start])]
        while pending:
            there = next(pending[-1], None)
            if there is None:
                pending.pop()
                on_path.discard(path[-1])
                done.add(path.pop())
            elif there in on_path:
                cycles.append(path[path.index(there) :])
            elif there not in done:
                path.append(there)
                on_path.add(there)
                pending.append(iter(edges[there]))
    return cycles


def check_third_party(modules: dict[str, Module]) -> list[str]:
    bad = []
    users: dict[str, dict[str, Import]] = {}
    for module in modules.values():
        for imp in read_imports(module):
            library = imp.target.split(".")[0]
            if library in sys.stdlib_module_names or library in EVERYWHERE or library == ROOT:
                continue
            home = HOMES.get(library)
            if home is None:
                users.setdefault(library, {}).setdefault(module.path, imp)
            elif module.path != home and not (home.endswith("/") and module.path.startswith(home)):
                bad.append(f"{imp.where} (rule: {library} is imported only in {home})")
    for library, files in users.items():
        for imp in list(files.values()) if len(files) > 1 else []:
            others = ", ".join(sorted(set(files) - {imp.module.path}))
            bad.append(f"{imp.where} (rule: {library} has one file, but {others} imports it too)")
    return bad


def check_sizes(modules: dict[str, Module]) -> list[str]:
    bad = []
    for module in modules.values():
        count = len(module.lines)
        if count > MOST_FILE_LINES and module.path not in DATA_TABLES:
            bad.append(f"{module.at(count)}: {count} lines (rule: a file <= {MOST_FILE_LINES})")
        for number, line in enumerate(module.lines, 1):
            if len(line) > MOST_COLUMNS:
                bad.append(
                    f"{module.at(number)}: {len(line)} columns (rule: a line <= {MOST_COLUMNS})"
                )
        for node in ast.walk(module.tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                length = (node.end_lineno or node.lineno) - node.lineno + 1
                if length > MOST_FUNCTION_LINES:
                    bad.append(
                        f"{module.at(node.lineno)}: {node.name} has {length} lines "
                        f"(rule: a function <= {MOST_FUNCTION_LINES})"
                    )
    return bad


def check_docstrings(modules: dict[str, Module]) -> list[str]:
    bad = []
    for module in modules.values():
        last = module.name.rpartition(".")[2]
        is_private = last.startswith("_") and last != "__main__"
        if not is_private and not ast.get_docstring(module.tree):
            bad.append(f"{module.at(1)}: no docstring (rule: every public module has one)")
    return bad


CHECKS = [check_floors, check_shelves, check_cycles, check_third_party, check_sizes,
          check_docstrings]


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_the_source_keeps_the_rules(check):
    modules = read_modules(SOURCE)
    assert ROOT in modules, f"no source under {SOURCE}"
    bad = check(modules)
    assert not bad, f"{len(bad)} violations\n" + "\n".join(bad)


# The checks themselves: each small tree breaks one rule, and the message says where.

BROKEN = {
    "up inside a function": (
        check_floors,
        {"ir/a.py": '"""."""\ndef f():\n    from lamella.ops import b\n', "ops/b.py": '"""."""'},
        "src/lamella/ir/a.py:3: imports b from lamella.ops (rule: an import goes down, never up",
    ),
    "up, relative": (
        check_floors,
        {"ir/a.py": "from ..ops.b import c\n"},
        "src/lamella/ir/a.py:1: imports c from lamella.ops.b (rule: an import goes down, never up",
    ),
    "up by import_module": (
        check_floors,
        {"nn/a.py": "import importlib\nimportlib.import_module('lamella.cli.main')\n"},
        "src/lamella/nn/a.py:2: imports lamella.cli.main (rule: an import goes down",
    ),
    "runtime knows bytes only": (
        check_floors,
        {"runtime/a.py": "import lamella.ir.node\n"},
        "src/lamella/runtime/a.py:1: imports lamella.ir.node (rule: runtime imports only base",
    ),
    "a package on no floor": (
        check_floors,
        {"utils/a.py": ""},
        "src/lamella/utils/a.py:1: 'utils' is on no floor",
    ),
    "the package itself": (
        check_floors,
        {"ops/a.py": "import lamella\n"},
        "src/lamella/ops/a.py:1: imports lamella (rule: nothing inside imports lamella itself",
    ),
    "the top reaching down": (
        check_floors,
        {"__init__.py": "from lamella.ir import node\n"},
        "src/lamella/__init__.py:1: imports node from lamella.ir (rule: lamella/__init__.py takes",
    ),
    "up between folders": (
        check_shelves,
        {"api/arrays/a.py": "from ..functions import b\n", "api/functions/b.py": ""},
        "src/lamella/api/arrays/a.py:1: imports b from lamella.api.functions (rule: functions",
    ),
    "a cycle, half of it lazy": (
        check_cycles,
        {
            "ir/a.py": "import lamella.ir.b\n",
            "ir/b.py": "import lamella.ir.c\n",
            "ir/c.py": "def f():\n    from .a import x\n",
        },
        "src/lamella/ir/c.py:2: imports x from lamella.ir.a (rule: no import cycles: ",
    ),
    "a library away from home": (
        check_third_party,
        {"runtime/llvm.py": "import llvmlite\n", "planner/a.py": "from llvmlite import binding\n"},
        "src/lamella/planner/a.py:1: imports binding from llvmlite (rule: llvmlite is imported "
        "only in runtime/llvm.py)",
    ),
    "a library in two files": (
        check_third_party,
        {"dist/a.py": "import mpi4py\n", "dist/b.py": "import mpi4py.MPI\n"},
        "src/lamella/dist/b.py:1: imports mpi4py.MPI (rule: mpi4py has one file, but dist/a.py",
    ),
    "a long file": (
        check_sizes,
        {"ir/a.py": "x = 1\n" * 601},
        "src/lamella/ir/a.py:601: 601 lines (rule: a file <= 600)",
    ),
    "a long function": (
        check_sizes,
        {"ir/a.py": "\ndef f():\n" + "    x = 1\n" * 80},
        "src/lamella/ir/a.py:2: f has 81 lines (rule: a function <= 80)",
    ),
    "a wide line": (
        check_sizes,
        {"ir/a.py": "\n# " + "x" * 99},
        "src/lamella/ir/a.py:2: 101 columns (rule: a line <= 100)",
    ),
    "no docstring": (
        check_docstrings,
        {"ir/a.py": "x = 1\n"},
        "src/lamella/ir/a.py:1: no docstring",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_rule_is_found_and_located(name, tmp_path):
    check, files, told = BROKEN[name]
    bad = check(write_tree(tmp_path, files))
    assert any(line.startswith(told) for line in bad), bad


def test_a_good_tree_passes_every_check(tmp_path):
    files = {
        "__init__.py": "def __getattr__(name):\n    from lamella.api import array\n",
        "api/array.py": "from lamella import __version__\nfrom lamella.ir.a import x\n",
        "ir/a.py": "import numpy as np\nfrom . import b\nfrom ..base.errors import E\n",
        "ir/b.py": "import os\n",
        "ir/__init__.py": "",
        "runtime/llvm.py": "import llvmlite.binding\n",
        "serve/a.py": "import starlette\n",
        "serve/b.py": "import starlette\n",
    }
    modules = write_tree(tmp_path, {path: f'"""."""\n{text}' for path, text in files.items()})
    assert [line for check in CHECKS for line in check(modules)] == []


def write_tree(folder: Path, files: dict[str, str]) -> dict[str, Module]:
    for path, text in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text, encoding="utf-8")
    return read_modules(folder)
