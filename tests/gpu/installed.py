"""A device in the place of the driver's, for a test."""

from lamella.engine import eager, stations
from lamella.runtime import cuda


def install(monkeypatch, device):
    """Every device is this one, and nothing is known yet of programs that ran on another."""
    monkeypatch.setattr(cuda, "device", lambda index: device)
    monkeypatch.setattr(stations, "_stations", {})
    monkeypatch.setattr(eager, "_numbers", {})
    monkeypatch.setattr(eager, "_executables", type(eager._executables)())
    return device
