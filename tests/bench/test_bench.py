"""The benchmarks run, and print what `compare` reads; no figure is judged here."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FIELDS = {"peer", "work", "setup_s", "peak_rss_mb", "first_s", "median_ms", "min_ms", "n"}
PEERS = '''
import json, sys
peer, work = sys.argv[1:3]
if peer == "torch":
    sys.exit("this peer is not installed")
print("a line before")
print(json.dumps(dict(peer=peer, work=work, setup_s=0.1, peak_rss_mb=5, first_s=0.1,
                      median_ms=2e6, min_ms=1e6, n=1)))
'''


def run(module: str, *arguments: str, **environment: str) -> str:
    path = os.pathsep.join([str(ROOT / "src"), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run([sys.executable, "-m", module, *arguments], cwd=ROOT, text=True,
                          capture_output=True, timeout=110,
                          env={**os.environ, "PYTHONPATH": path, "BUDGET_S": "0", **environment})
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("work", ["mlp_train", "layernorm_gelu"])
def test_ours_prints_one_line(work):
    found = json.loads(run("bench.ours", work))
    assert found["peer"] == "lamella" and found["work"] == work and set(found) >= FIELDS
    assert found["plan_peak_bytes"] > 0 and found["min_ms"] > 0


def test_both_name_the_same_workloads():
    from importlib.util import module_from_spec, spec_from_file_location
    spec = spec_from_file_location("compare", ROOT / "bench" / "compare.py")
    compare = module_from_spec(spec)
    spec.loader.exec_module(compare)
    assert run("bench.ours", "list").split() and \
        set(run("bench.ours", "list").split()) == set(compare.WORKLOADS)


def test_compare_runs_peers_in_turn(tmp_path):
    peers = tmp_path / "peers.py"
    peers.write_text(PEERS)
    out = run("bench.compare", "--peers", str(peers), "--workloads", "mlp_train", "--budget", "0",
              "--systems", "torch,jax,onnxruntime").strip().splitlines()
    results = json.loads(out[-1])["results"]
    assert [r["peer"] for r in results] == ["lamella", "torch", "jax"]  # no training in the last
    assert results[1]["error"] == "this peer is not installed"
    assert float(out[3].split()[-1]) > 1


def test_the_price_of_the_fixed_order():
    out = run("bench.fast", "--workloads", "mlp_train", "--rounds", "1", "--seconds", "0")
    rows = json.loads(out.splitlines()[-1])["rows"]
    assert rows[0]["what"] == "mlp_train" and all(r["ratio"] > 0 for r in rows)
    assert all(r["differs"] < 1e-5 for r in rows[1:])


def test_the_fastest_of_some_configurations_is_chosen():
    out = run("bench.predict", "--choose", "mlp", "batch=16", "width=16,32", "layers=2",
              "memory=100,90,1", "micro=1,2").splitlines()
    *lines, found = map(json.loads, out)
    kinds = [line["kind"] for line in lines if "error" in line]
    assert found["configurations"] == len(kinds) >= 4 and {found["chosen"], found["fastest"]} <= {
        *kinds}
    refused = [line["kind"] for line in lines if "none" in line]
    assert "batch 16, width 16, layers 2, memory 1, micro 1" in refused
    assert found["slower_by"] >= 0


def test_overhead_prints_figures():
    parts = "call,latency,node,uncompiled,memory,sizes,size"
    out = run("bench.overhead", "--quick", "--only", parts)
    found = json.loads(out.strip().splitlines()[-1])["overhead"]
    assert len(found) >= 10 and all("unit" in f for f in found.values())


def test_models_have_the_shapes_of_the_workloads():
    import lamella
    sys.path.insert(0, str(ROOT))
    try:
        from bench import models
    finally:
        sys.path.remove(str(ROOT))
    a, b, *keys = lamella.random.split(lamella.random.key(0), 4)
    bert = models.Bert(11, 1, 2, 8, key=a)
    assert bert(lamella.zeros((2, 5), dtype="int32")).shape == (2, 8)
    lstm = models.LSTM(7, 4, 6, key=b)
    assert lstm(lamella.zeros((2, 3), dtype="int32")).shape == (2, 3, 7)
    images = lamella.zeros((1, 32, 32, 3))
    for depth, key in zip((18, 50), keys):
        net = models.ResNet(depth, 10, key=key)
        logits, state = net(images, net.init_state())  # lazy: nothing is computed
        assert logits.shape == (1, 10)
        assert [a.shape for a in lamella.tree.leaves(state)] == \
            [a.shape for a in lamella.tree.leaves(net.init_state())]


def test_the_fuzzer_counts_its_programs():
    found = json.loads(run("bench.fuzz", "--count", "6", "--jobs", "2").splitlines()[-1])
    assert found["programs"] == 6 and found["failed"] == 0


def test_the_worst_error_of_a_function_is_found():
    lines = run("bench.ulp", "--only", "exp,sqrt", "--chunks", "4").splitlines()
    exp, sqrt = json.loads(lines[-1])["functions"]
    assert 0.9 < exp["worst_ulp"] == exp["checked_ulp"] < 1.05
    assert sqrt["worst_ulp"] <= 0.5 and sqrt["inputs"] == 1 << 26


def test_a_peer_has_no_more_than_the_claim(tmp_path):
    peers, claims = tmp_path / "peers.py", tmp_path / "claims.jsonl"
    peers.write_text("import numpy as np\nWORK = {}\n"
                     "def jax_case(name):\n"
                     "    return lambda: np.ones(0 if name == 'mlp_train' else 40 << 20).sum()\n"
                     "def torch_case(name, compiled):\n    return [lambda: 0.0]\n")
    out = run("bench.verify", "--peers", str(peers), "--claims", str(claims), "--steps", "3",
              "--workloads", "gpt_nano_train", "--systems", "torch,jax", "--table").splitlines()
    claim = json.loads(claims.read_text())["peak"]
    found = [json.loads(line) for line in out if line.startswith("{")]
    assert [(x["system"], x["limit"] is None) for x in found] == [
        ("lamella", False), ("torch", True), ("torch", False), ("jax", True), ("jax", False)]
    assert 0.9 * claim < found[0]["grown"] <= claim + (16 << 20) and found[0]["mappings"] == 0
    assert "failed" not in found[2] and found[3]["grown"] >= 300 << 20
    assert "MemoryError" in found[4]["failed"] and out[-1].endswith("out of memory |")
