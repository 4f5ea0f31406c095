"""The sample worker: a piece of work every few seconds, until it is stopped."""

import json
import os
import signal
import threading


def work(number: int) -> None:
    print(json.dumps({"worked": number, "commit": os.environ.get("COMMIT_ID", "unknown")}), flush=True)


def main() -> None:
    stopped, number = threading.Event(), 0
    # ECS sends SIGTERM, and SIGKILL 30 seconds later: the piece of work in progress is finished.
    signal.signal(signal.SIGTERM, lambda signal_number, frame: stopped.set())
    signal.signal(signal.SIGINT, lambda signal_number, frame: stopped.set())
    while not stopped.is_set():
        number += 1
        work(number)
        stopped.wait(float(os.environ.get("SECONDS_BETWEEN", "5")))


if __name__ == "__main__":
    main()
