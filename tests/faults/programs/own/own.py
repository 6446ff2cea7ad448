"""A program that prints events, and misbehaves as it is told."""

import argparse
import json
import os
import shutil
import sys
import time

parser = argparse.ArgumentParser()
parser.add_argument("--how", required=True)
how = parser.parse_args().how
rank = int(os.environ["HARNESS_RANK"])


def say(**event: object) -> None:
    """Print an event."""
    print(json.dumps(event), flush=True)


if how == "refuse":
    parser.error("unrecognized arguments: --how refuse")
if how == "silent":
    time.sleep(300)
say(event="ready", rank=rank)
if how == "remove":
    shutil.rmtree(os.getcwd())  # noqa: PTH109
    time.sleep(300)
if how == "stall":
    time.sleep(300)
for epoch in (1, 2):
    time.sleep(0.5)
    more = {"images": 1.7e308, "train_loss": -1.7e308, "cpu_seconds": 1.7e308} if how == "huge" else {"images": 10}
    for _ in range(2 if how == "double" else 1):
        say(event="epoch", rank=rank, epoch=epoch, train_seconds=0.5, **more)
say(event="done", rank=rank)
sys.exit(0)
