"""Settings shared by all tests."""

from __future__ import annotations

import os
import signal

from hypothesis import HealthCheck, settings

_COMMON = {
    "deadline": None,  # the first example compiles
    "max_examples": 40,
    "suppress_health_check": [HealthCheck.too_slow],
}
settings.register_profile("local", **_COMMON)
settings.register_profile("ci", derandomize=True, **_COMMON)
settings.load_profile("ci" if os.environ.get("CI") else "local")

# A shell starts what runs behind it with Ctrl-C ignored, and children inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)
