"""Tiles timed on a device and remembered: the null device takes the place of one, with a clock."""

import pytest

pytest.importorskip("triton")

from gpu.installed import install
from gpu.stand_in import Driver

import lamella
from lamella.base.devices import named
from lamella.engine import stations, tiles, tune_device, tuned
from lamella.planner.kernels.tiles.contraction import Shape, candidates, choose_tile
from lamella.runtime import cuda
from lamella.runtime.device import NullDevice


class Clock(NullDevice):
    """Each tile that is timed is faster than the one before, up to the third."""

    def __init__(self):
        super().__init__()
        self.timed = 0

    def seconds(self, work):
        work()
        self.timed += 1
        tile = (self.timed - 1) // tune_device.REPEATS
        return abs(tile - 2) + 1.0


@pytest.fixture
def device(monkeypatch, tmp_path):
    found = install(monkeypatch, Clock())
    monkeypatch.setattr(tuned, "default_folder", lambda: tmp_path)
    monkeypatch.setattr(tune_device, "MOST", 5)
    return found


def _program(n=256):
    def f(x, w):
        return lamella.relu(x @ w)
    return lamella.trace(f, lamella.spec((512, 1024), "bfloat16"),
                         lamella.spec((1024, n), "bfloat16"))


def test_the_fastest_tile_is_remembered_and_planned_with(device, monkeypatch):
    gpu, said = named("cuda:0"), []
    result, = tune_device.tune([_program()], gpu, said.append)
    at, shape = stations.station(gpu), Shape(512, 256, 1024, 1, 16)
    third = candidates(shape, at.target)[2]
    assert result.product == shape and result.found == third and result.better
    assert result.tried == 5 and device.timed == 5 * tune_device.REPEATS and said
    assert choose_tile(shape, at.target) == third
    monkeypatch.setattr(stations, "_stations", {})      # as in another process
    assert choose_tile(shape, stations.station(gpu).target) == third
    other = Shape(512, 384, 1024, 1, 16)
    assert choose_tile(other, at.target) == candidates(other, at.target)[0]


def test_nothing_is_kept_of_a_tuning_run_on_the_device(device):
    gpu = named("cuda:0")
    tune_device.tune([_program()], gpu, lambda line: None)
    blocks = stations.station(gpu).blocks
    assert blocks.used_bytes == 0
    blocks.trim()
    assert not device.memory.known


def test_a_file_that_cannot_be_read_is_none(device, tmp_path):
    tuned.path(tiles.named(device)).write_text("[[1, 2]")
    assert tiles.remembered(tiles.named(device)) == {}


def test_time_is_taken_by_events(monkeypatch):
    driver = Driver()
    monkeypatch.setattr(cuda, "_driver", lambda: driver)
    found = cuda.Cuda(0)
    assert found.name == "Stand-in"
    assert found.seconds(lambda: None) == 2e-3
    assert driver.called("cuEventSynchronize")[-1] == ("event",)
