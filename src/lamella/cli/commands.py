"""The commands and their arguments."""

from __future__ import annotations

from typing import Annotated

import typer

from .. import __version__
from ..base.errors import UnsupportedError

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False,
                  help="Train, plan, explain and serve models, with costs known before they run.")

Source = Annotated[str, typer.Argument(metavar="RECIPE.toml|MODEL.lamella")]
Change = Annotated[list[str] | None, typer.Option(
    "--set", metavar="KEY=VALUE", help="Change a key of the recipe, such as optim.lr=3e-4.")]
Fast = Annotated[bool, typer.Option("--fast", help="Sum in whatever order is faster, with other "
                                    "bits (docs/numerics.md, fast mode).")]
Memory = Annotated[str, typer.Option(metavar="BYTES", help="A memory budget, such as 64MiB.")]
Spill = Annotated[str, typer.Option(metavar="FOLDER", help="To keep the budget, values may also "
                                    "rest in a file there.")]


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"lamella {__version__}")
        raise typer.Exit


@app.callback()
def _root(version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True,
                                                help="Print the version and exit.")] = False):
    pass


@app.command()
def train(recipe: Annotated[str, typer.Argument(metavar="RECIPE.toml")], change: Change = None,
          resume: Annotated[bool, typer.Option(help="Go on from the last checkpoint.")] = False,
          memory: Memory = "", spill: Spill = "",
          trace: Annotated[str, typer.Option(metavar="FILE", help="Record steps, loading and "
                                             "checkpoints for Perfetto or Chrome.")] = "") -> None:
    """Train a model as a recipe says, and write its file.

    Ctrl-C stops after the step and leaves a checkpoint beside the file, from
    which --resume goes on with the same bits. A whole recipe:

    \b
    model.kind = "mlp"              # or gpt, or file.py:function
    model.sizes = [64, 256, 10]     # a gpt's: vocabulary, context, layers, heads,
                                    # width
    data.name = "digits"            # or mnist (data.folder), text (data.file)
    optim.lr = 1e-3                 # optim.kind (adamw, sgd), weight_decay,
                                    # momentum
    train.epochs = 10               # train.batch_size, seed, memory ("64 MiB"),
                                    # spill (a folder), fast, device
    output.file = "digits.lamella"  # output.rows: the most in a served request
    """
    from .recipe import read, read_bytes
    wanted, budget = read(recipe, change or ()), read_bytes(memory) if memory else None
    from contextlib import nullcontext

    from ..base.events import recording
    from .training import check_writable
    from .training import train as run
    if trace:
        check_writable(trace)
    with recording(trace) if trace else nullcontext():
        run(wanted, resume=resume, memory=budget, spill=spill, say=typer.echo)


@app.command()
def plan(source: Source, change: Change = None, memory: Memory = "", spill: Spill = "",
         fast: Fast = False,
         curve: Annotated[bool, typer.Option("--memory-curve", help="Draw time against memory: the "
                                             "plans that budgets choose from.")] = False,
         solve: Annotated[str, typer.Option(metavar="batch", help="Find the largest batch that "
                                            "keeps the memory budget.")] = "",
         json: Annotated[bool, typer.Option(help="Print the curve as JSON.")] = False,
         device: Annotated[str, typer.Option(metavar="NAME|FILE.json", help="Plan and price it "
                                             "for this device, such as h200.")] = "") -> None:
    """Print bytes, operations and time of a recipe's training step or a model's inference."""
    from .explaining import draw_curve, largest_batch
    from .explaining import plan as run
    from .recipe import read_bytes
    budget = read_bytes(memory) if memory else None
    if json and not curve:
        raise UnsupportedError("--json prints the curve: add --memory-curve")
    if curve and (memory or solve):
        raise UnsupportedError("--memory-curve draws the plans of all budgets: leave --memory and "
                               "--solve out")
    if solve:
        largest_batch(source, change or (), typer.echo, solve, budget, device, fast, spill)
    elif curve:
        draw_curve(source, change or (), typer.echo, json, device, fast, spill)
    else:
        run(source, change or (), typer.echo, budget, device, fast, spill)


@app.command()
def explain(source: Source, change: Change = None, fast: Fast = False,
            code: Annotated[bool, typer.Option(help="Show loops and generated code too.")] = False,
            html: Annotated[str, typer.Option(metavar="FILE", help="Draw a page with the memory "
                                   "map and the timeline instead.")] = ""
            ) -> None:
    """Print the program, its plan, its kernels and where every byte lies."""
    from .explaining import explain as run
    from .training import check_writable
    if html:
        check_writable(html)
    run(source, change or (), typer.echo, code, html, fast)


@app.command()
def verify(source: Source, change: Change = None, memory: Memory = "", spill: Spill = "",
           file: Annotated[str, typer.Option(metavar="FILE", help="Where the claim is written.")]
           = "claim.json",
           steps: Annotated[int, typer.Option(min=2, help="Steps that are run.")] = 10,
           limit: Annotated[str, typer.Option(metavar="BYTES", help="Another limit than the claim "
                                              "and its slack.")] = "") -> None:
    """Write what a training step will need to a file, then run it under just that limit.

    A process of its own runs a recipe's first steps (of a model file an inference
    on random numbers), with no more memory (RLIMIT_DATA) than it has before its
    arguments are made, what the plan claims, and 16 MiB for Python. Claim and
    measurement are printed side by side; the status is 1 where the claim is not
    kept.
    """
    from .recipe import read_bytes
    from .training import check_writable
    from .verifying import verify as run
    check_writable(file)
    kept = run(source, change or (), typer.echo, file, read_bytes(memory) if memory else None,
               steps, read_bytes(limit) if limit else None, spill)
    if not kept:
        raise typer.Exit(1)


@app.command()
def calibrate(device: Annotated[str, typer.Option(help="Measure this GPU, such as cuda:0.")] = ""
              ) -> None:
    """Measure this machine for a few seconds, so that predicted times are its own."""
    from .explaining import calibrate as run
    run(typer.echo, device)


@app.command()
def tune(source: Source, change: Change = None,
         seconds: Annotated[float, typer.Option(help="For each product.")] = 10.0,
         device: Annotated[str, typer.Option(help="Time the tiles of this GPU, such as cuda:0."
                                             )] = "") -> None:
    """Time the cuts of a model's products on this machine, and remember the fastest."""
    from .explaining import tune as run
    run(source, change or (), typer.echo, seconds, device)


@app.command()
def serve(models: Annotated[list[str], typer.Argument(metavar="MODEL.lamella...")],
          host: Annotated[str, typer.Option(help="The address to listen on.")] = "127.0.0.1",
          port: Annotated[int, typer.Option(help="The port; 0 takes a free one.")] = 8000,
          window: Annotated[float, typer.Option(help="Milliseconds to wait for a batch.")] = 1.0,
          waiting: Annotated[int, typer.Option(help="Rows that may wait.")] = 1024,
          timeout: Annotated[float, typer.Option(help="Seconds until an answer.")] = 30.0,
          fast: Fast = False,
          device: Annotated[str, typer.Option(help="Run them on this GPU, such as cuda:0.")] = "",
          insecure: Annotated[bool, typer.Option(help="Allow any address, without a password.")]
          = False) -> None:
    """Serve model files over the Open Inference Protocol v2 (REST).

    What waits is answered after the first Ctrl-C or SIGTERM; a second one ends it
    at once. What a model takes and gives, and a request:

    \b
    curl localhost:8000/v2/models/NAME
    curl localhost:8000/v2/models/NAME/infer -d '{"inputs": [{"name": "x",
         "datatype": "FP32", "shape": [1, 2], "data": [0.5, 1]}]}'
    """
    from ..serve.app import Limits
    from ..serve.server import serve as run
    limits = Limits(waiting=waiting, window=window / 1000, timeout=timeout)
    run(models, host, port, limits=limits, insecure=insecure, fast=fast,
        device=device)
