"""`dist_async` whose workers can be replaced: one that died in mid-epoch leaves the others a way to go on with another.

ps-lite gives a dead worker's rank to the next worker that comes, once its heartbeats have been missing for so long
(`PS_HEARTBEAT_TIMEOUT`, in every process of the trial). The servers hold the values, so the newcomer takes them from
there. What stands in the way are barriers, which count messages: a worker that died within one was counted, or was not. So
after the first values nobody waits at one until all have trained.
"""

from __future__ import annotations

import os
import time

import mxnet as mx
import numpy as np
from contract import wire

from ...errors import ProgramError
from ...reporting.meters import Vector, process_age
from ..base import STALL_SECONDS
from ..registration import Opening
from .asynchronous import AsynchronousKVStore
from .server_shards import BOUND

_WIDEST = 15
_FIRST_LOOK_SECONDS = 0.005
_LAST_LOOK_SECONDS = 0.2


class ReplaceableKVStore(AsynchronousKVStore):
    """Sums lie on two boards on the servers, used in turns: a row a worker, [round, values].

    A worker writes its own row and looks until every row is of this round. Nobody can be two rounds ahead of another, so
    the rows that are read are of this round alone. A row that was written before its worker died is written once more.
    There is a round an epoch. A worker that takes a dead one's place is told so by the environment.
    """

    replaceable = True

    def __init__(self, opening: Opening) -> None:
        self._follows = wire.FOLLOWS_AFTER in os.environ
        if self._follows:
            # A newcomer before its time would get no rank at all
            timeout = float(os.environ.get("PS_HEARTBEAT_TIMEOUT", "0"))
            time.sleep(max(0.0, timeout + 1.0 - process_age()))
        super().__init__(opening)
        self._round = opening.finished

    def _publish(self) -> None:
        """Make values and boards known to the servers; a newcomer's first values would be taken for gradients."""
        size = self.workers * (1 + _WIDEST)
        if size >= int(os.environ.get(BOUND, size + 1)):
            raise ProgramError(
                f"a board of {size} values would be cut up over servers, its rows too",
                f"raise {BOUND}, or leave --recover-workers out",
            )
        first = len(self._keys)
        self._boards = [first, first + 1]
        if not self._follows:
            super()._publish()
            self._kv.init(self._boards, [mx.nd.zeros((self.workers, 1 + _WIDEST))] * 2)

    def reduce(self, values: Vector) -> Vector:
        """Sum over workers. Raises ProgramError, naming those that are missing, where they do not go on training either."""
        if len(values) > _WIDEST:
            raise ProgramError(f"{len(values)} values are more than a row of {_WIDEST}", "reduce them in parts")
        self._round += 1
        key = self._boards[self._round % 2]
        board = mx.nd.zeros((self.workers, 1 + _WIDEST))
        self._kv.pull(key, out=board)
        change = np.zeros(board.shape, np.float32)
        row = np.zeros(1 + _WIDEST)
        row[: 1 + len(values)] = [self._round, *values]
        change[self.rank] = board.asnumpy()[self.rank] - row  # servers subtract
        self._kv.push(key, mx.nd.array(change))
        return np.asarray(self._full(key)[:, 1 : 1 + len(values)].sum(axis=0))

    def _full(self, board: int) -> Vector:
        """The rows of a board once all are of this round; looks at it until then.

        A worker that still trains may take as long as it needs: the model's values on the servers change meanwhile.
        """
        smallest = min(self._keys, key=lambda key: int(self._values[key].size))
        out = [mx.nd.zeros((self.workers, 1 + _WIDEST)), mx.nd.zeros(self._values[smallest].shape)]
        pause, seen, since = _FIRST_LOOK_SECONDS, b"", time.monotonic()
        while True:
            self._kv.pull([board, smallest], out=out)
            rows = np.asarray(out[0].asnumpy(), np.float64)
            missing = np.flatnonzero(rows[:, 0] < self._round - 0.5)
            if not missing.size:
                return rows
            now = rows.tobytes() + out[1].asnumpy().tobytes()
            if now != seen:
                seen, since = now, time.monotonic()
            elif time.monotonic() - since > STALL_SECONDS:
                raise self._stalled(missing.tolist())
            time.sleep(pause)
            pause = min(2 * pause, _LAST_LOOK_SECONDS)

    def _stalled(self, missing: list[int]) -> ProgramError:
        return ProgramError(
            f"epoch {self._round} still misses rank {', '.join(map(str, missing))} of the store {self.name},"
            f" and nobody trained for {STALL_SECONDS:g} s",
            "see the log of the worker whose events say that rank; if it died, start the program again",
        )
