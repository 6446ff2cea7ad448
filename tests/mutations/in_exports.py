"""A run in the formats of other projects."""

from __future__ import annotations

from tests.mutations.mutation import mutations

_VERB = "export/test_export_verb.py"
_MLFLOW = "export/test_export_mlflow.py"

MUTATIONS = [
    *mutations(
        "export",
        "harness/export/writing.py",
        _VERB,
        ("    refuse_unfinished(run.paths)\n", ""),
        ("    if real.is_relative_to(paths.root):", "    if False:"),
        ("target.is_symlink() or not (target / MARK).is_file() or", "target.is_symlink() or"),
        ("    if target.is_symlink() or not", "    if not"),
        (" or paths.root.is_relative_to(real):", ":"),
    ),
    *mutations(
        "export",
        "harness/export/parquet.py",
        "export/test_export_parquet.py",
        ("isinstance(cell, float) and not cell.is_integer()", "False"),
        ('"harness.manifest": json.dumps(run.manifest)', '"harness.manifest": "{}"'),
        ("if all(there is not None for", "if any(there is not None for"),
    ),
    *mutations(
        "export",
        "harness/export/trials.py",
        "export/test_export_tensorboard.py export/test_export_crate.py",
        ('"slowest": "max"', '"slowest": "mean"'),
        ("            if several and math.isfinite(value):", "            if math.isfinite(value):"),
        ("max([began, *(each[name] for each in ends if name in each)])", "began"),
        ("if each.unit == OWN_UNIT or each.name in asked}", "if each.unit == OWN_UNIT}"),
        ("float(value), float(latest[epoch]))", "float(value), otherwise)"),
    ),
    *mutations(
        "export",
        "harness/export/tensorboard.py",
        f"export/test_export_tensorboard.py {_VERB}",
        ("wall_time=moment, step=epoch", "wall_time=trial.began, step=epoch"),
        ("        if trial.id != Path(trial.id).name or", "        if"),
        ("        shown.add(tag)\n", ""),
    ),
    *mutations(
        "export",
        "harness/export/tracking.py",
        _MLFLOW,
        ("        _delete(client, made)\n        raise", "        raise"),
        ("    _delete(client, earlier)\n", ""),
        ("    said = without_secrets(str(error)", "    said = (str(error)"),
        ('"FAILED" if trial.status == "failed" else "FINISHED"', '"FINISHED"'),
        ("value, _milliseconds(moment), step) for", "value, 0, step) for"),
    ),
    *mutations(
        "export",
        "harness/export/entities.py",
        "export/test_export_crate.py",
        ("said if said in programs else programs[0]", "programs[-1]"),
    ),
    *mutations(
        "export",
        "harness/export/crate.py",
        "export/test_export_crate.py",
        ("if file.startswith(below)]", "]"),
    ),
    *mutations(
        "export",
        "harness/export/contents.py",
        _VERB,
        ("(*data.notes, *rank_notes, *rate_notes)", "()"),
    ),
]
