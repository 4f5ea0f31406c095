"""Virtual time, shared by everything in the stand-in: an hour of bake or approval passes in a millisecond."""

import threading
import time


class Clock:
    def __init__(self, start: float = 1_767_225_600.0) -> None:  # 2026-01-01T00:00:00Z
        self._now = start
        self._lock = threading.Lock()

    def now(self) -> float:
        """Seconds since the epoch."""
        with self._lock:
            return self._now

    def sleep(self, seconds: float) -> None:
        """Let `seconds` pass, and other threads run."""
        with self._lock:
            self._now += seconds
        time.sleep(0.001)
