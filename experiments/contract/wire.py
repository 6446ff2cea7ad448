"""What the controller and the nodes must agree on. Standard library only: nodes get this file beside the programs.

`harness/contract/wire.py` is a link to it. Nothing of it is written anywhere else; a test holds that.
"""

from __future__ import annotations

from typing import Final

# --- the agent on a node: `python agent VERB`, a request on its stdin (a JSON line), answers on its stdout ---

AGENT: Final = "agent"
"""The agent's directory in the code on a node."""

RUN: Final = "run"
FOLLOW: Final = "follow"
SERVE: Final = "serve"
HOLD: Final = "hold"
ENTER: Final = "enter"
STOP: Final = "stop"
CLEAN: Final = "clean"
PROBE: Final = "probe"
CONNECT: Final = "connect"
COPY: Final = "copy"
KEEP: Final = "keep"
"""The verb that an agent starts itself: a rank's keeper."""

STREAM_VERBS: Final = (RUN, FOLLOW, SERVE, HOLD, ENTER)
"""These answer with frames until the connection ends."""
REPLY_VERBS: Final = (STOP, CLEAN, PROBE, CONNECT, COPY)
"""These answer with one frame."""

RENEW: Final = b"."
"""What the harness writes to a stream's stdin to say that it is there: it renews the lease."""
COLLECTED: Final = b"q"
"""What it writes once it has everything of a trial: its directory may go."""

SUPERVISOR_PROCESS: Final = "process"
SUPERVISOR_SYSTEMD: Final = "systemd"

SUDO_PASSWORD: Final = "sudo_password"  # noqa: S105 - a name
"""Of a request, where sudo asks for one on the node: it is said to sudo's stdin, and never kept or printed."""

CPU_FILE: Final = "/etc/harness/cpu.json"
"""On a virtual node: how its processor is imitated. A real node has none."""
CPU_FACTOR_VARIABLE: Final = "HARNESS_CPU_FACTOR"
CPU_REPORT_VARIABLE: Final = "HARNESS_CPU_REPORT"
CPU_FROM_VARIABLE: Final = "HARNESS_CPU_FROM"
"""What a rank is started with on such a node: by what it is held back, where its counters go, the output from which on."""
CPU_MODEL: Final = "cpu_model"
"""In a rank's exit state: how it was held to its node's speed."""
CPU_BEHIND: Final = "cpu_behind_seconds"
"""In a rank's exit state: by how much what it computed came later than its speed means; null where that is not known."""

# --- frames: what an agent sends, a JSON line and as many raw bytes as its `bytes` says; its kind under `frame` ---

STARTED_FRAME: Final = "started"
OUTPUT_FRAME: Final = "output"
CHECKPOINT_FRAME: Final = "checkpoint"
FILE_FRAME: Final = "left_file"
EXIT_FRAME: Final = "exit"
BEAT_FRAME: Final = "beat"
TELEMETRY_FRAME: Final = "telemetry"
LISTENING_FRAME: Final = "listening"
HELD_FRAME: Final = "held"
REFUSED_FRAME: Final = "refused"
ERROR_FRAME: Final = "error"

FRAME_KINDS: Final = (
    STARTED_FRAME, OUTPUT_FRAME, CHECKPOINT_FRAME, FILE_FRAME, EXIT_FRAME, BEAT_FRAME, TELEMETRY_FRAME, LISTENING_FRAME,
    HELD_FRAME, REFUSED_FRAME, ERROR_FRAME,
)  # fmt: skip

FRAME_LIMIT_BYTES: Final = 8 << 20
"""The controller reads no longer payload, and the agent sends none: output comes in pieces, checkpoints whole."""

CHUNK_BYTES: Final = 1 << 18
"""Output is sent in pieces of at most this; both sides read and send in such pieces."""

CHECKPOINT_LIMIT_BYTES: Final = FRAME_LIMIT_BYTES
"""A larger checkpoint is not fetched."""

FILE_LIMIT_BYTES: Final = FRAME_LIMIT_BYTES
"""Nor is a larger file that a rank left for the run directory."""

# --- how a rank ended: `reason` of an `exit` frame ---

EXITED: Final = "exit"
"""Its process ended by itself or was killed by somebody else; `code` and `signal` say how."""
STOPPED: Final = "stopped"
LEASE_ENDED: Final = "lease"
"""Nobody had renewed the lease: the harness was out of reach."""
TIME_LIMIT: Final = "time_limit"
OUTPUT_LIMIT: Final = "output_limit"
"""It had printed more than a node keeps."""
NOT_STARTED: Final = "start"
LOST: Final = "lost"
"""Nobody saw it end."""

EXIT_REASONS: Final = (EXITED, STOPPED, LEASE_ENDED, TIME_LIMIT, OUTPUT_LIMIT, NOT_STARTED, LOST)

# --- names below a node's root, and in a rank's directory ---

CODE_DIRECTORY: Final = "code"
"""`code/<hash>/`: what the harness sent."""
CODE_LIST: Final = ".files.json"
"""In it: the SHA-256 of every file; the list's own SHA-256 begins with the directory's name."""
TRIALS_DIRECTORY: Final = "trials"
JOBS_DIRECTORY: Final = "jobs"
"""`jobs/<run>/<node>/`: where the ranks of `harness launch` work, on a copy of the program's directory."""
HELD_DIRECTORY: Final = "held"
DATA_DIRECTORY: Final = "data"
RUNTIME_DIRECTORY: Final = "runtime"
RUNTIMES_DIRECTORY: Final = "runtimes"
"""`runtimes/<name>/`: further Python environments, each for its own kind of program."""

CHECKPOINT_NAME: Final = "checkpoint.npz"
"""In a rank's directory: what the rank can be continued from."""
RESUME_NAME: Final = "resume.npz"
"""In a rank's directory: what it began with."""

# --- events: one JSON object a line on a rank's standard output, its kind under `event` ---

READY: Final = "ready"
PROGRESS: Final = "progress"
EPOCH: Final = "epoch"
CHECKPOINT: Final = "checkpoint"
DONE: Final = "done"
ERROR: Final = "error"

WINDOW: Final = "window"
VOLUNTEERS: Final = "volunteers"
"""Kinds of some programs, in no CSV file, that the report draws: see docs/reference/ranks.md."""

TASKS: Final = "tasks"
"""What a worker has done of independent tasks so far: TASK_KEYS beside `rank`."""
DASHBOARD: Final = "dashboard"
"""A web server listens on the loopback address of the rank's node: `port`, and `path` of its first page."""

EVENT_KINDS: Final = (READY, PROGRESS, EPOCH, CHECKPOINT, DONE, ERROR)

PHASES: Final = ("data", "forward", "backward", "push", "wait", "pull", "update")
"""What a worker does while it trains, in the order of a step."""

PHASE_KEYS: Final = tuple(f"{phase}_seconds" for phase in PHASES)

TRAFFIC_KEYS: Final = ("bytes_sent", "bytes_received", "packets_sent", "packets_received", "context_switches")

WORK_KEYS: Final = ("best_seconds", "result_bytes", "redone")
"""Of work that is many independent items: how well it was shared, and what it moved."""

TASK_KEYS: Final = ("tasks_done", "tasks_in_flight", "task_bytes_sent")
"""Each is a column of telemetry.csv."""

EPOCH_KEYS: Final = (
    "epoch", "steps", "images", "train_seconds", "validation_seconds", *PHASE_KEYS, "cpu_seconds", "learning_rate",
    "train_loss", "train_accuracy", "validation_loss", "validation_accuracy", *TRAFFIC_KEYS, "images_lost", "staleness",
    *WORK_KEYS,
)  # fmt: skip
"""Of an `epoch` event beside `rank`; each is a column of epochs.csv."""

# --- environment: what a rank finds of its trial; a framework's own names stand beside these ---

ROLE: Final = "HARNESS_ROLE"
RANK: Final = "HARNESS_RANK"
"""The rank's number among those of its role, in launch order, from 0."""
WORLD_SIZE: Final = "HARNESS_WORLD_SIZE"
"""How many ranks the role has."""
ROOT_ADDRESS: Final = "HARNESS_ROOT_ADDRESS"
"""IP address of the node where the trial's first rank runs."""
ROOT_PORT: Final = "HARNESS_ROOT_PORT"
"""A TCP port there that this trial may use."""
NODE: Final = "HARNESS_NODE"
NODE_ADDRESS: Final = "HARNESS_NODE_ADDRESS"
CORES: Final = "HARNESS_CORES"
"""The node's processor cores, where known."""
MEMORY_BYTES: Final = "HARNESS_MEMORY_BYTES"
"""The node's memory, where known."""
DATA: Final = "HARNESS_DATA"
"""Directory of the node's data sets."""
TRIAL_TOKEN: Final = "HARNESS_TRIAL_TOKEN"  # noqa: S105 - a name
"""A secret of this start, the same for all its ranks."""
KEEPER: Final = "HARNESS_KEEPER"
"""The keeper that the agent starts for the rank: all that the rank starts is found by it."""
BATCH_SIZES: Final = "HARNESS_BATCH_SIZES"
"""Only where batches follow the nodes' rates: every worker's images of a step, in launch order (`20,44`)."""
MEASURED_AS: Final = "HARNESS_MEASURED_AS"
"""Only where one node is measured alone: a JSON object of the parameters that were changed for that, with the values that
the trials will have; what these want of a library, the program sets for the measurement too."""
CHECKPOINT_FILE: Final = "HARNESS_CHECKPOINT"
RESUME_FROM: Final = "HARNESS_RESUME_FROM"
REPLACEABLE: Final = "HARNESS_REPLACEABLE"
"""Set where a worker that dies may be followed by another."""
FOLLOWS_AFTER: Final = "HARNESS_FOLLOWS_AFTER"
"""Set for a worker that takes a dead one's place: how many epochs that one had finished."""
