"""The analysis and the prediction: numbers that are published."""

from __future__ import annotations

from tests.mutations.mutation import mutations

_MEASURES = "report/test_report_analysis.py analysis/test_rates_added.py"

MUTATIONS = [
    *mutations(
        "published numbers",
        "harness/analysis/measures.py",
        _MEASURES,
        ('transform("min")', 'transform("max")'),
        ("_at_base(out, column) / out[column]", "out[column] / _at_base(out, column)"),
        ('there["repeat"] == trial["repeat"]', 'there["repeat"] != trial["repeat"]'),
        ('(numbers["nodes"] == trial["nodes"])', '(numbers["nodes"] > 0)'),
        ('out["speedup"] * out["base_nodes"] / out["nodes"]', 'out["speedup"] / out["nodes"]'),
        (
            '>= target.accuracy].drop_duplicates("trial", keep="first")',
            '>= target.accuracy].drop_duplicates("trial", keep="last")',
        ),
        ("common = float(best.min())", "common = float(best.max())"),
        ("        groups[metrics].median(),", "        groups[metrics].mean(),"),
        ("    seconds = train + validation.fillna(0.0)", "    seconds = train"),
        ('    out["suspect"] = measured["status"] == "suspect"', '    out["suspect"] = False'),
    ),
    *mutations(
        "published numbers",
        "harness/analysis/epochs.py",
        _MEASURES,
        ('keep="last")', 'keep="first")'),
        ('train_seconds=("train_seconds", "max")', 'train_seconds=("train_seconds", "mean")'),
        ('images=("images", "sum")', 'images=("images", "max")'),
        ('rows["train_seconds"] - rows["wait_seconds"]', 'rows["train_seconds"]'),
    ),
    *mutations(
        "published numbers",
        "harness/analysis/series.py",
        _MEASURES,
        ("if wanted and used[key] == {wanted}", "if wanted"),
        ("    if one.control:\n        return None\n", ""),
    ),
    *mutations(
        "published numbers",
        "harness/analysis/load.py",
        _MEASURES + " results/test_saved_tables.py",
        ("    good = [row for row in body if len(row) == len(header)]", "    good = body"),
        ("    if column.name in _TEXTS:\n        return present\n", ""),
        ('.replace("\\0", "")', ""),
    ),
    *mutations(
        "published numbers",
        "harness/analysis/steps.py",
        _MEASURES,
        ("2 * (nodes - 1) / nodes * parameters", "2 * parameters"),
    ),
    *mutations(
        "published numbers",
        "harness/predict/solve.py",
        "predict/test_predict_solve.py",
        ("        better = error < least", "        better = error <= least"),
        ("np.all((found >= 0) & (found <= upper[:, None]), axis=0)", "np.all(found >= 0, axis=0)"),
    ),
    *mutations(
        "training",
        "experiments/training/schedule.py",
        "training/test_training_schedule.py",
        ('"sqrt": math.sqrt(workers)', '"sqrt": float(workers)'),
        ("(step + 1) / warmup_steps", "step / warmup_steps"),
    ),
    *mutations(
        "training",
        "experiments/training/kvstores/allreduce/shards.py",
        "training/test_allreduce_shards.py",
        (
            "[worker * size // workers for worker in range(workers + 1)]",
            "[worker * (size // workers) for worker in range(workers + 1)]",
        ),
        ("for distance in range(1, workers)]", "for distance in range(workers)]"),
        ("if other not in mine and rank in sources(other))", "if rank in sources(other))"),
        ("group[(place + number) % len(group)]", "group[0]"),
        ("-(-workers // groups) + groups", "groups"),
    ),
    *mutations(
        "training",
        "experiments/training/kvstores/allreduce/bfloat16.py",
        "training/test_allreduce_bfloat16.py",
        ("    rounded += np.uint32(0x7FFF)\n", ""),
        ("    rounded &= np.uint32(1)\n", "    rounded &= np.uint32(0)\n"),
    ),
    *mutations(
        "training",
        "experiments/training/kvstores/parameter_server/server_shards.py",
        "training/test_server_shards.py",
        ("        if size < bound:", "        if size <= bound:"),
        ("    return list(reversed(forward))", "    return list(forward)"),
        ("_TOLERANCE = 1.15", "_TOLERANCE = 4.0"),
    ),
    *mutations(
        "training",
        "experiments/training/kvstores/parameter_server/two_bit.py",
        "training/test_two_bit.py",
        ('(batch_size if store == "dist_sync" else rate)', "rate"),
        ("    if not pushed:", "    if False:"),
    ),
    *mutations(
        "training",
        "experiments/training/checkpoint.py",
        "training/test_training_checkpoint.py",
        ("        temporary.replace(self._path)", "        pass"),
        ("    if shapes != expected:", "    if False:"),
        ("path and (rank == 0 or not shared)", "path and rank == 0"),
    ),
]
