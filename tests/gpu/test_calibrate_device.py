"""A device's rates, measured and kept: the null device takes the place of one, with a clock."""

import json

import pytest

pytest.importorskip("triton")

from gpu.installed import install

import lamella
from lamella.base.devices import named
from lamella.base.errors import LamellaError, MissingExtra, UnsupportedError
from lamella.cli.explaining import calibrate
from lamella.engine import calibrate_device, rates, stations
from lamella.planner.pricing.roofline import device as profile
from lamella.runtime.device import NullDevice


class Clock(NullDevice):
    """A kernel takes a microsecond, a copy two."""

    def __init__(self):
        super().__init__()
        self.context_bytes = 7 << 20

    def seconds(self, work):
        before = len(self.log)
        work()
        return 1e-6 * sum(1 + (n in ("copy", "send", "fetch")) for n in self.log[before:])


@pytest.fixture
def device(monkeypatch, tmp_path):
    found = install(monkeypatch, Clock())
    monkeypatch.setattr(rates, "default_folder", lambda: tmp_path)
    for name, value in {"WIDE": 256, "NARROW": 128, "ELEMENTS": 1 << 12, "PINNED": 1 << 10,
                        "SECONDS": 0.0}.items():
        monkeypatch.setattr(calibrate_device, name, value)
    return found


def test_rates_are_measured_and_planned_with(device, tmp_path):
    said = []
    calibrate(said.append, "cuda:0")
    file, = tmp_path.iterdir()
    assert "bfloat16 33.6" in said[0] and str(file) in said[0]
    found = profile(str(file))
    assert json.loads(file.read_text()).keys() >= json.loads(profile("h200").to_json()).keys()
    assert found.tensor_flops == pytest.approx(2 * 256 ** 3 / 1e-6)
    assert found.flops == pytest.approx(2 * 128 ** 3 / 1e-6)
    assert found.bandwidth == pytest.approx(8 * (1 << 12) / 1e-6)
    assert found.launch == pytest.approx(1e-6) and found.link == pytest.approx(1024 / 2e-6)
    assert (found.memory, found.capability, found.context) == (1 << 40, 90, 7 << 20)
    run = lamella.compile(lambda x: x + 1.0, device="cuda:0")
    report = lamella.plan(run, lamella.spec((1000,)))
    assert report.profile.measured and "a bound from its measured rates" in str(report)
    assert report.seconds == pytest.approx(1e-6 + 8e3 / found.bandwidth)
    assert stations.station(named("cuda:0")).blocks.used_bytes == 0


def test_a_file_that_cannot_be_read_counts_as_none(device, tmp_path):
    rates.path(device).write_text("{")
    assert not rates.rates(device).measured and rates.rates(device).context == 7 << 20


def test_without_a_folder_or_a_device_it_is_refused(device, monkeypatch):
    monkeypatch.setattr(rates, "default_folder", lambda: None)
    with pytest.raises(LamellaError, match="set LAMELLA_CACHE"):
        calibrate(print, "cuda:0")
    monkeypatch.undo()
    monkeypatch.setattr(stations, "_stations", {})
    with pytest.raises((MissingExtra, UnsupportedError), match="pip install|device='cpu'"):
        calibrate(print, "cuda:0")
