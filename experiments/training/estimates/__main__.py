"""Reads a JSON list of questions and writes the list of their answers. The harness runs this file on the controller."""

from __future__ import annotations

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # where the package `training` is

from training.estimates.answers import answer

if __name__ == "__main__":
    json.dump([answer(question) for question in json.load(sys.stdin)], sys.stdout)
