"""The real server as a process on a loopback port: start, answers, a busy port, a graceful end."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading

import httpx
import numpy as np
import pytest
from formats import golden

from lamella.base.errors import LamellaError
from lamella.formats.lamella_file import load
from lamella.ir.interpret import interpret
from lamella.serve import server
from lamella.serve.registry import Served

COMMAND = "import sys; from lamella.cli.main import main; main(['serve', *sys.argv[1:]])"


@pytest.fixture
def running(tmp_path):
    path = tmp_path / "m.lamella"
    golden.save(path, bound=16)
    process = subprocess.Popen(
        [sys.executable, "-c", COMMAND, str(path), "--port", "0"], stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)})
    told = process.stdout.readline()
    address = process.stdout.readline().removeprefix("listening on ").strip()
    yield process, told, address
    process.kill()
    process.communicate()


def ask(address: str, x: np.ndarray) -> httpx.Response:
    body = {"inputs": [{"name": "x", "shape": list(x.shape), "datatype": "FP32",
                        "data": x.tolist()}]}
    return httpx.post(f"{address}/v2/models/golden/infer", json=body)


def refuses(address: str) -> bool:
    """Whether it comes to accept no more connections; one that it has just accepted may be cut."""
    for _ in range(1000):
        try:
            httpx.get(f"{address}/v2/health/live")
        except httpx.ConnectError:
            return True
        except httpx.TransportError:
            pass
    return False


def test_it_starts_answers_and_ends(running):
    process, told, address = running
    assert "golden version 1: up to 16 rows a batch" in told and "peak" in told
    assert address.startswith("http://127.0.0.1:")
    answers: dict[int, np.ndarray] = {}

    def one(k: int) -> None:
        x = golden.rows(16)[k:k + 1]
        out = ask(address, x).json()["outputs"][0]
        answers[k] = np.array(out["data"], np.float32)

    threads = [threading.Thread(target=one, args=(k,)) for k in range(16)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    together = np.array(ask(address, golden.rows(16)).json()["outputs"][0]["data"], np.float32)
    alone = np.concatenate([answers[k] for k in range(16)])
    assert np.array_equal(together, alone)  # the same bits alone, joined, and in one request
    want, = interpret(golden.program(), [*golden.weights().values(), golden.rows(16)])
    np.testing.assert_allclose(together.reshape(16, 3), want, rtol=1e-6)
    process.send_signal(signal.SIGTERM)
    assert process.wait(10) == 0 and process.stderr.read() == ""


def test_a_request_in_progress_survives_sigterm(running):
    process, _, address = running
    host, port = address.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as s:
        body = b'{"inputs":[{"name":"x","shape":[1,8],"datatype":"FP32","data":[1,2,3,4,5,6,7,8]}]}'
        head = (f"POST /v2/models/golden/infer HTTP/1.1\r\nHost: {host}\r\n"
                f"Content-Length: {len(body)}\r\n\r\n").encode()
        s.sendall(head + body[:20])
        httpx.get(f"{address}/v2/health/live")  # the first part has been read by now
        process.send_signal(signal.SIGTERM)
        assert refuses(address)
        s.sendall(body[20:])
        answer = s.recv(4096)
    assert answer.startswith(b"HTTP/1.1 200") and process.wait(10) == 0


def test_a_client_that_leaves_is_not_an_error_of_ours(running):
    process, _, address = running
    host, port = address.removeprefix("http://").split(":")
    for _ in range(3):
        with socket.create_connection((host, int(port))) as s:
            s.sendall(f"POST /v2/models/golden/infer HTTP/1.1\r\nHost: {host}\r\n"
                      f"Content-Length: 99\r\n\r\nhalf".encode())
    assert ask(address, golden.rows(2)).status_code == 200
    process.send_signal(signal.SIGTERM)
    assert process.wait(10) == 0 and process.stderr.read() == ""


def test_fast_models_say_so(tmp_path):
    golden.save(tmp_path / "m.lamella", bound=16)
    model = load(tmp_path / "m.lamella")
    served = [Served(model, server.executable(model, fast=k)) for k in (False, True)]
    assert [", fast, peak" in server.describe(m) for m in served] == [False, True]


def test_a_busy_port_is_one_clear_error():
    with server.listen("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(LamellaError, match=f"port {port} on 127.0.0.1 is in use; choose"):
            server.listen("127.0.0.1", port)
    with pytest.raises(LamellaError, match="port 70000 on 127.0.0.1 failed"):
        server.listen("127.0.0.1", 70_000)


def test_other_machines_are_not_let_in_by_accident(tmp_path):
    golden.save(tmp_path / "m.lamella")
    for host in ("0.0.0.0", "::", "example.org"):
        with pytest.raises(LamellaError, match="can be reached by other machines"):
            server.serve([str(tmp_path / "m.lamella")], host, 0)
