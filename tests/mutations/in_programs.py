"""The programs that come with the harness: volunteers, rules, homes that learn online."""

from __future__ import annotations

from tests.mutations.mutation import mutations

_VOLUNTEERS = "tasks/test_volunteers.py"
_RULES = "training/test_rules.py training/test_rule_equations.py training/test_cadence.py"
_ONLINE = "training/test_online.py training/test_online_coding.py"

MUTATIONS = [
    *mutations(
        "volunteers",
        "experiments/tasks/volunteers/desk.py",
        _VOLUNTEERS,
        ("            if not self._round.finish(", "            if self._round.finish("),
        ("        self._round.leave(key)\n        self._round.come(", "        self._round.come("),
        (
            "volunteer.seconds, volunteer.refused = self._round.seconds(key), 0",
            "volunteer.seconds = self._round.seconds(key)",
        ),
        ("        if self.version - task.version > self.plan.oldest:", "        if False:"),
        ("            self._round.leave(key)\n            images", "            images"),
        ("            if images and not self.finished:\n", "            if False:\n"),
        ("        staleness = self.version - task.version\n", "        staleness = 0\n"),
        (
            "        if whole or not self.merging.waits:\n            self.version += 1\n",
            "        if whole:\n            self.version += 1\n",
        ),
        ("done * plan.windows >= plan.steps * self._window", "done * plan.windows > plan.steps * self._window"),
        ("            self._window_began = now\n", ""),
        ("decay(self.plan.decay, first, self.plan.steps, self.plan.decay_begins)", "1.0"),
    ),
    *mutations(
        "volunteers",
        "experiments/tasks/volunteers/merging.py",
        _VOLUNTEERS,
        ("        self._sum[:] = 0\n", ""),
        ("        centre = self.centre.copy()  # somebody", "        centre = self.centre  # somebody"),
    ),
    *mutations(
        "volunteers",
        "experiments/tasks/volunteers/portions.py",
        _VOLUNTEERS,
        ("super()._second(own, now) if self._sizing.backups else None", "super()._second(own, now)"),
        ("min(count, max(1, int(self._sizing.most_seconds / own.seconds)))", "count"),
        ("for each in worker.open if not seconds else ():", "for each in ():"),
    ),
    *mutations(
        "volunteers",
        "experiments/tasks/volunteers/account.py",
        _VOLUNTEERS,
        ("done, self._window = self._window, Window()", "done = self._window"),
        ("        self.shares.setdefault(node, Share()).lost += images\n", ""),
        ("        window.loss += loss\n", ""),
        ('"done_again": {node: share.lost for', '"done_again": {node: share.images for'),
    ),
    *mutations(
        "volunteers",
        "experiments/tasks/volunteers/messages.py",
        _VOLUNTEERS,
        ("isinstance(value, int) and not isinstance(value, bool) and value >= 0", "isinstance(value, int)"),
        ("loss if math.isfinite(loss) else math.inf", "loss"),
        (
            "        return (self.first, self.steps) == (task.first, task.steps)",
            "        return self.first == task.first",
        ),
    ),
    *mutations(
        "training",
        "experiments/training/rules/common/descent.py",
        _RULES,
        ("            gradients += momentum * velocity\n", "            gradients += velocity\n"),
        ("            self._state.clear(_VELOCITY)", "            pass"),
        ("            if all(lengths):", "            if True:"),
        ("not (self.momentum or self.weight_decay or self.lars)", "not (self.momentum or self.lars)"),
    ),
    *mutations(
        "training",
        "experiments/training/kvstores/ddp/__init__.py",
        "training/test_program_description.py",
        ('own.get("strategy", DATA) == DATA', "True"),
        ('    if own.get("sign_messages"):', "    if False:"),
        ("    check=_check,\n", ""),
    ),
    *mutations(
        "training",
        "experiments/training/rules/common/cadence.py",
        _RULES + " training/test_traffic.py",
        ("self._steps <= self._always_for or", ""),
        ("np.array([self._steps, self._alone], np.int64)", "np.array([self._steps, 0], np.int64)"),
        ("Cadence(every, at_epochs=every == 1)", "Cadence(every)"),
        ("return float(-(-steps // self._every))", "return float(steps // self._every)"),
        ("1.0 if self.at_epochs else 1 / epochs", "1.0"),
    ),
    *mutations(
        "training",
        "experiments/training/rules/average.py",
        _RULES,
        ("np.float32(shares.own / shares.total)", "np.float32(1 / len(shares.sizes))"),
        ("learning_rate, self._shares.own)", "learning_rate, self._shares.total)"),
    ),
    *mutations(
        "training",
        "experiments/training/rules/sgd.py",
        _RULES,
        ("self._rate, self._shares.total)", "self._rate, self._shares.own)"),
    ),
    *mutations(
        "training",
        "experiments/training/rules/admm.py",
        _RULES,
        ("        relaxed *= self._relaxation\n", ""),
        ("np.float32(self._rho * self._shares.own)", "np.float32(self._rho)"),
    ),
    *mutations(
        "training",
        "experiments/training/rules/easgd.py",
        _RULES,
        ("self._pull * self.weight", "self._pull"),
    ),
    *mutations(
        "training",
        "experiments/training/rules/outer.py",
        _RULES,
        ("            change *= self._outer_rate\n", ""),
    ),
    *mutations(
        "training",
        "experiments/training/rules/downpour.py",
        _RULES,
        ("np.float32(1 / self._push_every)", "np.float32(1)"),
        ("        if not self._adagrad:\n            accrued", "        if True:\n            accrued"),
    ),
    *mutations(
        "online",
        "experiments/training/online/sharing.py",
        _ONLINE,
        ("max(1, int(np.ceil(bytes_of_meeting", "max(1, int(np.floor(bytes_of_meeting"),
        ("self._lowest = min(self._lowest, mean)", "self._lowest = mean"),
        ("        if meets:\n            self._since = 0\n", ""),
        ("        self._values.settled()[:] = own\n", ""),
    ),
    *mutations(
        "online",
        "experiments/training/online/coding.py",
        _ONLINE,
        ("np.rint(wanted / scale)", "np.trunc(wanted / scale)"),
        ("not (np.isfinite(scale) and scale > 0)", "not scale > 0"),
    ),
    *mutations(
        "online",
        "experiments/training/online/stream.py",
        _ONLINE,
        ("self._random.randint(self._seen)) < self._size", "self._random.randint(self._size)) < self._size"),
        ("self._walk(1 + (number - 1) // walk)", "self._walk(1)"),
        ("self._calendar.world(number).seen", "self._calendar.world(0).seen"),
    ),
    *mutations(
        "online",
        "experiments/training/online/world.py",
        _ONLINE,
        ("World(changes[:-1]) if changes", "World(changes) if changes"),
        ("axes=(-2, -1)", "axes=(1, 2)"),
        ("tuple(sorted(moments, key=lambda moment: moment[0]))", "tuple(moments)"),
    ),
]
