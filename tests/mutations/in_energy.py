"""Energy: whose power is known, what meters say, and joules."""

from __future__ import annotations

from tests.mutations.mutation import mutations

_METERS = "energy/test_meters.py"
_METERING = "energy/test_metering.py"
_SAMPLING = "energy/test_sampling.py"
_JOULES = "analysis/test_energy.py"

MUTATIONS = [
    *mutations(
        "energy",
        "harness/energy/address.py",
        _METERS,
        ("parts.hostname, port or 80,", "parts.hostname, 80,"),
        ('    password: str = field(default="", repr=False)', '    password: str = ""'),
        ("        return watts if 0 <= watts <= MOST_WATTS else None", "        return watts"),
        ("OwnFile(directory / Path(parts.path)", "OwnFile(Path(parts.path)"),
    ),
    *mutations(
        "energy",
        "harness/energy/devices.py",
        _METERS,
        ("power[plug.channel] if plug.channel < len(power) else None", "power[0] if power else None"),
        ("    if not 0 <= value <= MOST_WATTS:", "    if not value <= MOST_WATTS:"),
    ),
    *mutations(
        "energy",
        "harness/energy/digest.py",
        _METERS,
        ('algorithm != "SHA-256"', "False"),
        ('_hash(f"GET:{path}")', '_hash("GET:/")'),
    ),
    *mutations(
        "energy",
        "harness/energy/request.py",
        _METERS,
        ("        self.settimeout(_left(self.ends))\n        return super()", "        return super()"),
    ),
    *mutations(
        "energy",
        "harness/energy/metering.py",
        _METERING,
        ("    _refuse_emulated(cluster, found)\n", ""),
        ('    if isinstance(by, Plug) and "@" in address:', "    if False:"),
        ('if each.part == "other" or each.name in names)', "if each.name in names)"),
        ("not isinstance(each.by, Fixed) and each.by.idle_watts is None", "each.by.idle_watts is None"),
        ('isinstance(by := found[name], Fixed) and by.source == "estimate"}', "isinstance(found[name], Fixed)}"),
    ),
    *mutations(
        "energy",
        "harness/energy/own_file.py",
        _SAMPLING,
        ('    whole = data[: data.rfind(b"\\n") + 1]', "    whole = data"),
        ("                if size < self._offset:", "                if False:"),
        ("        if not whole and len(data) == _AT_ONCE:", "        if False:"),
        ("line and len(line) < _LONGEST_LINE]", "line]"),
    ),
    *mutations(
        "energy",
        "harness/energy/sampling.py",
        _SAMPLING,
        ("if sample[0] < self._idle_until]", "if False]"),
        ("            self._idle_until = time.time()", "            pass"),
        ("            if why and not silent and not", "            if why and not"),
        ("            silent = bool(why)\n", "            silent = silent or bool(why)\n"),
        ("        return [(time.time(), None)], str(error)", "        return [], str(error)"),
        ("            self._take(metered, meter, _read(read)[0])", "            pass"),
        ("            thread.join(max(0.0, ends - time.monotonic()))", "            thread.join()"),
        ("        with self._writing:\n            self._closed = True", "        pass"),
        ("                    self._closed = True\n", ""),
    ),
    *mutations(
        "energy",
        "harness/energy/look.py",
        _METERING,
        ('Finding(metered.name, "power", "warning"', 'Finding(metered.name, "power", "ok"'),
        ("{said[-1]:g} W", "{said[0]:g} W"),
    ),
    *mutations(
        "energy",
        "harness/analysis/energy/integral.py",
        _JOULES,
        ("np.minimum(times + hold, np.append(times[1:], np.inf))", "np.append(times[1:], times[-1:] + hold)"),
        ("max(LEAST_HOLD_SECONDS, HOLD_INTERVALS * usual)", "LEAST_HOLD_SECONDS"),
        ("max(LEAST_HOLD_SECONDS, HOLD_INTERVALS * usual)", "HOLD_INTERVALS * usual"),
        ("    times, watts = times[order], watts[order]\n", ""),
    ),
    *mutations(
        "energy",
        "harness/analysis/energy/spent.py",
        _JOULES,
        ("(source.fixed_watts - source.idle_watts) * seconds", "source.fixed_watts * seconds"),
        ("joules / covered * seconds, np.nan", "joules, np.nan"),
        ("np.where(shares >= LEAST_COVERED, ", "np.where(shares > 0, "),
        ("source.fixed_watts * windows.whole_seconds", "source.fixed_watts * seconds[-1]"),
        ("    if measured is not None and (measured.source or math", "    if measured is not None or (math"),
        ("covered = min(covered, float(whole_shares[0]))", "pass"),
    ),
    *mutations(
        "energy",
        "harness/analysis/energy/windows.py",
        _JOULES,
        ("end - dilation * seconds", "end - seconds"),
        ('["end"].max()', '["end"].min()'),
        ("float(start) + dilation * whole)", "float(start) + whole)"),
        ('if math.isnan(row["continued_from_epoch"]) else math.nan', "if True else math.nan"),
        ("np.fmax(end - dilation * seconds, np.append(-np.inf, end[:-1]))", "end - dilation * seconds"),
    ),
    *mutations(
        "energy",
        "harness/analysis/energy/energy.py",
        _JOULES,
        ("    if len(known) < len(parts) or not known:", "    if not known:"),
        ('frozenset(map(str, own)) - {_CONTROLLER, ""}', 'frozenset(map(str, own)) - {""}'),
        ("np.flatnonzero(accuracies >= accuracy)", "np.flatnonzero(accuracies > accuracy)"),
        ("float(joules[there[0]]) if", "float(joules[-1]) if"),
        ("for name in [*wanted, *others]}", "for name in wanted or others}"),
    ),
    *mutations(
        "energy",
        "harness/analysis/energy/sources.py",
        _JOULES,
        ('    measured = rows[rows["source"].isin((METER, ""))]', '    measured = rows[rows["source"] == METER]'),
        ("    if len(said):\n", "    if False:\n"),
        ('))) & (rows["state"] != "idle")]', ")))]"),
        ("float(idle.median())", "float(idle.max())"),
        ('.where(power["watts"].between(0, MOST_WATTS))', ""),
    ),
    *mutations(
        "energy",
        "harness/analysis/energy/notes.py",
        _JOULES,
        ("one.source == METER and 1 - one.covered > _MENTIONED", "False"),
    ),
]
