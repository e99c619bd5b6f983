"""The summary of a comparison, and its picture."""

import xml.etree.ElementTree as ET

from bench.compare import summary
from bench.picture import picture

RESULTS = [
    {"work": "a", "peer": "lamella", "min_ms": 2.0, "flops": 4_000_000_000, "traffic": 10_000_000},
    {"work": "a", "peer": "torch", "min_ms": 5.0}, {"work": "a", "peer": "jax", "min_ms": 3.0},
    {"work": "b", "peer": "lamella", "min_ms": 1.0, "flops": 16_000_000, "traffic": 128_000_000},
    {"work": "b", "peer": "torch", "error": "no <such> thing"}, {"work": "b", "peer": "jax",
                                                                  "min_ms": 6.0},
    {"work": "b", "peer": "uncompiled", "min_ms": 0.5}]


def test_the_best_peer_of_each_workload_counts():
    found = summary(RESULTS)
    assert found["ratios"] == {"a": {"peer": "jax", "ratio": 1.5},
                               "b": {"peer": "jax", "ratio": 6.0}}
    assert found["geomean"] == 3.0
    assert summary([])["geomean"] is None


def test_the_picture_is_well_formed():
    root = ET.fromstring(picture(RESULTS, 500.0, 30.0))
    titles = [t.text for t in root.iter("{http://www.w3.org/2000/svg}title")]
    assert "a, torch: 2.50" in titles and any(t.startswith("b: 16 GFLOP/s") for t in titles)
    assert not any("uncompiled" in t for t in titles)
    assert picture(RESULTS[1:2], 500.0, 30.0).startswith("<svg")
