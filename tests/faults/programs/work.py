"""A program that knows nothing of this project: numbered lines for so many seconds, and trouble where it is asked for."""

import argparse
import os
import signal
import subprocess
import sys
import time

LATER = ("exit", "segfault", "forks", "daemon", "endless", "line", "hang")
parser = argparse.ArgumentParser()
parser.add_argument("--seconds", type=float, default=3)
parser.add_argument("--trouble", default="", choices=["", "memory", "flood", "torn", "fill", *LATER])
options = parser.parse_args()
first = (os.environ.get("HARNESS_ROLE"), os.environ.get("HARNESS_RANK")) == ("worker", "1")
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
if first and options.trouble in LATER:
    print("line 0", flush=True)
    time.sleep(1)
if first and options.trouble == "exit":
    sys.exit(3)
if first and options.trouble == "segfault":
    os.kill(os.getpid(), signal.SIGSEGV)
if first and options.trouble == "forks":
    for _ in range(3):
        if os.fork() == 0:
            while True:
                if os.fork():
                    os._exit(0)
    time.sleep(1)
    os._exit(4)
if first and options.trouble == "daemon":
    deaf = "trap '' TERM; while :; do sleep 0.2; done"
    subprocess.Popen(["sh", "-c", deaf], start_new_session=True)
    time.sleep(1)
    os._exit(5)
if first and options.trouble == "endless":
    while True:
        sys.stdout.write(("l" * 99 + "\n") * 10_000)
if first and options.trouble == "line":
    for _ in range(64):
        sys.stdout.write("u" * 1_000_000)
    sys.stdout.flush()
    print(flush=True)
if options.trouble == "hang" and os.environ.get("HARNESS_ROLE") == "server":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    time.sleep(600)
number = 1 if first and options.trouble in LATER else 0
end = time.monotonic() + options.seconds
while time.monotonic() < end:
    print(f"line {number}", flush=True)
    number += 1
    time.sleep(0.05)
