"""From handwritten digits to a served model, in one run.

Prints what the training step will cost, trains, compares the measured peak with the plan, writes
one model file, serves it on loopback, and asks it. `make run` runs this file.
"""

from __future__ import annotations

import base64
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

import numpy as np

import lamella
from lamella import nn, optim
from lamella.data import Loader, load_digits
from lamella.formats.export import export
from lamella.train.progress import Progress

BATCH, EPOCHS, WIDTH = 64, 60, 512


def loss_fn(model, x, y):
    """Mean cross-entropy of the model's logits."""
    return nn.losses.cross_entropy(model(x), y)


def main() -> None:
    began = time.perf_counter()
    x, y = load_digits("train")
    x_test, y_test = load_digits("test")
    x, x_test = x.reshape(-1, 64), x_test.reshape(-1, 64)

    model = nn.MLP([64, WIDTH, 10], key=lamella.random.key(0))
    opt = optim.AdamW(2e-3, weight_decay=0.3)
    state = opt.init(model)

    @lamella.compile(donate=("model", "state"), memory="64 MiB")
    def step(model, state, x, y):
        loss, grads = lamella.value_and_grad(loss_fn)(model, x, y)
        model, state = opt.update(model, grads, state)
        return model, state, loss

    title("the plan of a training step (nothing is compiled yet)")
    planned = lamella.plan(step, model, state, lamella.spec((BATCH, 64)),
                           lamella.spec((BATCH,), "int32"))
    print(planned)

    title("training")
    loader = Loader((x, y), batch_size=BATCH, seed=0, drop_last=True)
    with Progress(EPOCHS * len(loader)) as bar:
        for epoch in range(EPOCHS):
            for rows, labels in loader:
                model, state, loss = step(model, state, rows, labels)
                bar.advance(len(rows), loss, f"epoch {epoch + 1}/{EPOCHS}")
    print(f"loss {float(loss):.4f} after {EPOCHS} epochs of {len(loader)} steps")

    title("planned and measured")
    measured = lamella.measure(step, model, state, x[:BATCH], y[:BATCH])
    print(f"peak memory   planned {planned.peak:>12,} bytes   "
          f"measured {measured.peak:>12,} bytes   "
          f"{'equal' if planned.peak == measured.peak else 'DIFFERENT'}")
    print(f"time          predicted {planned.seconds * 1e6:8.0f} us      measured "
          f"{measured.seconds * 1e6:8.0f} us")
    predicted = np.asarray(lamella.argmax(model(lamella.asarray(x_test)), axis=1))
    accuracy = float((predicted == y_test).mean())
    print(f"test accuracy {accuracy:.4f} on {len(y_test)} images it has not seen")

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "digits.lamella"
        batch = lamella.symbol("B", 1, 256)
        export(path, model, {"image": lamella.spec((batch, 64)).type}, name="digits", batch="B",
               outputs=["logits"])
        title(f"one file: {path.name}, {path.stat().st_size:,} bytes")
        serve_and_ask(path, x_test, y_test)
    print(f"\nall in {time.perf_counter() - began:.1f} s")
    if accuracy < 0.97:
        sys.exit("the accuracy is below 0.97")


def serve_and_ask(path: Path, images: np.ndarray, labels: np.ndarray) -> None:
    """Start `lamella serve`, ask for one digit alone and in a batch, show it, stop the server."""
    command = [sys.executable, "-m", "lamella", "serve", str(path), "--port", "0"]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        address = wait_for_address(server)
        title(f"served at {address}")
        alone = ask(address, images[:1])
        batch = ask(address, images[:32])
        print(picture(images[0]))
        print(f"the model says {int(alone[0].argmax())}, the label is {int(labels[0])}")
        same = alone[0].tobytes() == batch[0].tobytes()
        print(f"its answer alone and in a batch of 32: {'the same bits' if same else 'DIFFERENT'} "
              f"({base64.b16encode(alone[0].tobytes()[:8]).decode().lower()}...)")
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait(timeout=20)


def wait_for_address(server: subprocess.Popen) -> str:
    """The address that the server prints when it listens."""
    assert server.stdout is not None
    for line in server.stdout:
        found = next((w for w in line.split() if w.startswith("http://")), None)
        if found is not None:
            return found.rstrip("/.,")
    sys.exit("the server did not start")


def ask(address: str, rows: np.ndarray) -> np.ndarray:
    """The logits for the rows, over the Open Inference Protocol v2."""
    body = {"inputs": [{"name": "image", "shape": list(rows.shape), "datatype": "FP32",
                        "data": [float(v) for v in rows.reshape(-1)]}]}
    request = urllib.request.Request(f"{address}/v2/models/digits/infer",
                                     json.dumps(body).encode(),
                                     {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        output = json.load(answer)["outputs"][0]
    return np.asarray(output["data"], np.float32).reshape(output["shape"])


def picture(image: np.ndarray) -> str:
    """A digit as text."""
    shades = " .:-=+*#%@"
    rows = image.reshape(8, 8)
    return "\n".join("  " + "".join(shades[round(float(v) * 9)] * 2 for v in row) for row in rows)


def title(text: str) -> None:
    """A line that separates the parts."""
    print(f"\n== {text} ==", flush=True)


if __name__ == "__main__":
    os.environ.setdefault("PYTHONUNBUFFERED", "1")
    main()
