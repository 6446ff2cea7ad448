"""Says the time of day every fifth of a second, and that a step is done: to measure a live page. ticks.py --seconds N."""

from __future__ import annotations

import argparse
import json
import os
import time

EVERY_SECONDS = 0.2

parser = argparse.ArgumentParser()
parser.add_argument("--seconds", type=int, default=60)
steps = round(parser.parse_args().seconds / EVERY_SECONDS)
rank = int(os.environ["HARNESS_RANK"])


def say(event: str, **values: object) -> None:
    print(json.dumps({"event": event, "rank": rank, **values}), flush=True)


say("ready", workers=int(os.environ["HARNESS_WORLD_SIZE"]))
begun = time.perf_counter()
for step in range(1, steps + 1):
    time.sleep(EVERY_SECONDS)
    print(f"tick {time.time():.3f}", flush=True)
    say("progress", epoch=1, step=step, steps=steps)
say("epoch", epoch=1, steps=steps, images=steps, train_seconds=time.perf_counter() - begun)
