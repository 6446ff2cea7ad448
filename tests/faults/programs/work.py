"""A program that knows nothing of this project: numbered lines for so many seconds, and trouble where it is asked for."""

import argparse
import os
import sys
import time

parser = argparse.ArgumentParser()
parser.add_argument("--seconds", type=float, default=3)
parser.add_argument("--trouble", default="", choices=["", "memory", "flood", "torn", "fill"])
options = parser.parse_args()
first = os.environ.get("HARNESS_WORKER_RANK") == "1"
TORN = [
    '{"event": "epoch", "rank": 0, "epoch": 1, "train_sec',
    '{"event": "epoch", "rank": "zero", "epoch": NaN, "train_seconds": Infinity}',
    '{"event": ["epoch"]}',
    '{"event": "ready"}',
    "{'event': 'done'}",
    "[1, 2",
    '{"event": "epoch", "rank": {}, "epoch": [], "train_seconds": null}',
    "\x00\x1b[31m\r\x07",
]

if first and options.trouble == "memory":
    time.sleep(1)
    hoard = []
    while True:
        hoard.append(b"x" * (16 << 20))
        time.sleep(0.01)
if first and options.trouble == "fill":
    # To the disk that the rank's output is on.
    while True:
        print("f" * 4000, flush=True)
if first and options.trouble == "flood":
    line = "l" * 99 + "\n"
    for _ in range(1000):
        sys.stdout.write(line * 1000)
    sys.stdout.flush()
if first and options.trouble == "torn":
    for text in TORN:
        print(text, flush=True)
    sys.stdout.buffer.write(b'\xff\xfe{"event": "epoch"}\n{"event": "pro')
    sys.stdout.flush()
    time.sleep(0.5)
    print('gress", "rank": 0}', flush=True)
number = 0
end = time.monotonic() + options.seconds
while time.monotonic() < end:
    print(f"line {number}", flush=True)
    number += 1
    time.sleep(0.05)
