"""The live page: who is answered, what is read again, and what runs."""

from __future__ import annotations

from tests.mutations.mutation import mutations

MUTATIONS = [
    *mutations(
        "live page",
        "harness/live/server.py",
        "live/test_live_server.py",
        ('named[0].strip().lower().partition(":")[0] in _HOSTS', "True"),
        ("        return len(named) == 1 and", "        return"),
        ("        if not secrets.compare_digest(path[: len(self.root)].encode(), self.root.encode()):", "        if False:"),
        ("            if len(self._open) >= MOST_CONNECTIONS:", "            if False:"),
        ("        self._server.hang_up()\n", ""),
        ("        self._server.server_close()\n", ""),
        ("now - self._made > _FRESH_SECONDS", "False"),
        ("            if self._made is None or now", "            if True or now"),
        ("default-src 'none'; ", ""),
    ),
    *mutations(
        "live page",
        "harness/live/tail.py",
        "live/test_live_tail.py",
        ("            if not self._is_same(file.fileno()):", "            if False:"),
        ("            file.seek(self._offset)\n            while", "            while"),
        (" or (piece if len(piece) == _PIECE else b\"\")", ""),
        ("                    elif len(cells) == len(self._heading):", "                    else:"),
        ("                self._heading = []\n", ""),
        ('            del lines[0]', "            pass"),
    ),
    *mutations(
        "live page",
        "harness/live/reader.py",
        "live/test_live_state.py",
        ("            begun = written and moment >= self._paths.lock.stat().st_mtime_ns", "            begun = written"),
        ("                self._courses.clear()", "                pass"),
        ("                self._said = Said(self._epochs)\n                continue", "                continue"),
        ("        if seen == self._manifest_seen:", "        if self._manifest_seen:"),
    ),
    *mutations(
        "live page",
        "harness/live/epochs.py",
        "live/test_live_state.py",
        ("if self.epochs[n].workers >= needed", ""),
        ("        self.slowest = max(self.slowest, ", "        self.slowest = max(0.0, "),
    ),
    *mutations(
        "live page",
        "harness/sweep/pace.py",
        "sweep/test_pace.py",
        ("            self._points.clear()  # between", "            pass  # between"),
        ("        gained = self.share - self._share_before", "        gained = self.share"),
        (" - (before or 0.0), count + (before is None)", ", count + 1"),
        ("max(left - max(now - self._last, 0.0), 0.0)", "left"),
    ),
]  # fmt: skip
