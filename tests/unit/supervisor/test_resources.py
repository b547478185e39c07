"""What processes use of the machine: real ones, that work, rest and end."""

from __future__ import annotations

import os
import subprocess
import sys
import time

from tenuto.supervisor.resources import ResourceMeter


def test_a_process_that_works_is_seen_to_work_and_one_that_is_gone_is_left_out() -> None:
    meter = ResourceMeter()
    busy = subprocess.Popen([sys.executable, "-c", "print(flush=True)\nwhile True: pass"], stdout=subprocess.PIPE)
    idle = subprocess.Popen([sys.executable, "-c", "print(flush=True)\ninput()"], stdin=-1, stdout=-1)
    try:
        for process in (busy, idle):
            assert process.stdout is not None
            process.stdout.readline()
        meter.measure([busy.pid, idle.pid])
        end = time.monotonic() + 30
        while True:
            time.sleep(0.2)
            used = meter.measure([busy.pid, idle.pid, os.getpid()])
            if used[busy.pid].cpu_percent > 5 > used[idle.pid].cpu_percent:
                break
            assert time.monotonic() < end
        assert ResourceMeter().measure([busy.pid])[busy.pid].cpu_percent > 0  # the first time: since its start
        assert used[idle.pid].memory_bytes > 1_000_000
        assert used[idle.pid].threads == 1
    finally:
        for process in (busy, idle):
            process.kill()
            process.communicate()
    assert meter.measure([busy.pid, idle.pid]) == {}
