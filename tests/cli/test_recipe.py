"""Recipes: typed values, changes from the command line, and errors that name the right key."""

from __future__ import annotations

from pathlib import Path

import pytest

from lamella.base.errors import RecipeError
from lamella.cli import recipe

EXAMPLE = Path(__file__).parents[2] / "examples" / "digits.toml"
GOOD = {"model": {"kind": "mlp", "sizes": [4, 2]}, "data": {"name": "digits"}}


def test_the_example_is_read_and_changed():
    r = recipe.read(EXAMPLE)
    assert r.model.sizes == [64, 256, 10] and r.optim.lr == 1e-3 and r.output.rows == 256
    r = recipe.read(EXAMPLE, ["optim.lr=3e-4", "train.epochs = 2", "output.file=a b.lamella",
                              "model.sizes=[64, 10]"])
    assert (r.optim.lr, r.train.epochs, r.output.file) == (3e-4, 2, "a b.lamella")
    assert r.model.sizes == [64, 10]


WRONG = {
    "key": ({"model": {"kind": "mlp", "szies": [1]}}, "no key model.szies; did you mean sizes?"),
    "table": ({"modle": {}}, "no key modle; did you mean model?"),
    "far": ({"zzz": {}}, "no key zzz; known: model, data, optim, train, output"),
    "no table": ({"model": 3}, "model must be a table, not 3"),
    "missing": ({"model": {"kind": "mlp"}}, "missing required field `data`"),
    "type": ({**GOOD, "train": {"epochs": "x"}}, "Expected `int`, got `str` - at `train.epochs`"),
    "flag": ({**GOOD, "train": {"fast": "x"}}, "Expected `bool`, got `str` - at `train.fast`"),
    "products": ({**GOOD, "train": {"autocast": "int8"}}, "Invalid enum value 'int8' - at `train"),
    "bounds": ({**GOOD, "train": {"epochs": 0}}, ">= 1"),
    "rate": ({**GOOD, "optim": {"lr": -1.0}}, "optim.lr"),
    "endless rate": ({**GOOD, "optim": {"lr": float("inf")}}, "optim.lr"),
    "no rate": ({**GOOD, "optim": {"lr": float("nan")}}, "optim.lr"),
    "no folder": ({**GOOD, "data": {"name": "mnist"}}, "data.name 'mnist' needs data.folder"),
    "no text": ({**GOOD, "data": {"name": "text"}}, "data.name 'text' needs data.file"),
    "no file": ({**GOOD, "output": {"file": ""}}, "output.file '' names no file"),
    "a folder": ({**GOOD, "output": {"file": "x/"}}, "output.file 'x/' names no file"),
    "choice": ({**GOOD, "data": {"name": "digit"}}, "Invalid enum value 'digit'"),
    "kind": ({**GOOD, "model": {"kind": "mpl"}}, "model.kind is 'mpl'; did you mean mlp?; it"),
    "sizes": ({**GOOD, "model": {"kind": "mlp"}}, "an mlp needs model.sizes"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_recipe_is_told_how_to_be_right(name):
    raw, told = WRONG[name]
    with pytest.raises(RecipeError) as e:
        recipe.check(raw)
    assert told in str(e.value)


def test_changes_and_files_that_cannot_be_read(tmp_path):
    for change, told in [("lr", "write it as key=value"), ("=3", "write it as key=value"),
                         ("optim.lr.x=3", "lr is no table"), ("optim.rl=3", "did you mean lr?")]:
        with pytest.raises(RecipeError) as e:
            recipe.read(EXAMPLE, [change])
        assert told in str(e.value)
    with pytest.raises(RecipeError, match="No such file"):
        recipe.read(tmp_path / "none.toml")
    (tmp_path / "bad.toml").write_text("[model\n")
    with pytest.raises(RecipeError, match="is no TOML"):
        recipe.read(tmp_path / "bad.toml")


def test_bytes():
    assert [recipe.read_bytes(t) for t in ("1000", "64MiB", "1.5 GiB", "2kB")] == [
        1000, 64 << 20, 3 << 29, 2000]
    for text in ("", "MiB", "64 miles", "infGiB", "nan", "-5", "0"):
        with pytest.raises(RecipeError, match="write it as 64MiB"):
            recipe.read_bytes(text)
