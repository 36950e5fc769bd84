"""Make asv's fork server check less often whether a benchmark has ended.

asv_runner.server sleeps for a millisecond between two checks (`time.sleep(min(time2sleep, 0.001))`), and so wakes some
900 times a second. While one process computes, it does that on an idle CPU. While processes compute on all CPUs, it
takes a CPU from one each time: with two CPUs, a forest took 7 % longer on two processes, and as long as ever on one.
"""

from __future__ import annotations

import time
from types import SimpleNamespace

from asv_runner import server

LOOK_S = 0.02

# The server itself imports the suites before it forks, so from then on it sleeps by this.
server.time = SimpleNamespace(sleep=lambda seconds: time.sleep(max(seconds, LOOK_S)))
