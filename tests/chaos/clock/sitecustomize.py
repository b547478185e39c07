"""Shifts the wall clock of a Python process: imported by Python itself where this folder is on PYTHONPATH.

`TENUTO_CHAOS_CLOCK` says by how many seconds. The monotonic clock is left alone, as on a machine that was set wrongly.
"""

import os
import time

_AHEAD = float(os.environ["TENUTO_CHAOS_CLOCK"])
_AHEAD_NS = round(_AHEAD * 1e9)
_time, _time_ns = time.time, time.time_ns

time.time = lambda: _time() + _AHEAD
time.time_ns = lambda: _time_ns() + _AHEAD_NS
