"""Proves that this environment works and writes runtime.json next to itself; runs on the node, in its own interpreter."""

import json
import os
import platform
import sys
from importlib import import_module
from pathlib import Path

HERE = Path(__file__).resolve().parent
# Two trees on three points: the second feature decides, and the answers are these whatever the seed.
POINTS, LABELS = [[0.0, 1.0], [1.0, 5.0], [2.0, 1.0]], [0, 1, 0]


def fail(message, remedy):
    sys.exit(f"{message}. Try: {remedy}")


def grow(ensemble):
    """A forest of known answers."""
    forest = ensemble.RandomForestClassifier(n_estimators=2, max_features=None, bootstrap=False, random_state=0)
    answers = forest.fit(POINTS, LABELS).predict([[9.0, 1.0], [0.0, 4.9]]).tolist()
    if answers != [0, 1]:
        fail(
            f"scikit-learn's forest answers {answers}, not [0, 1]", "another wheel: this one does not fit the processor"
        )


def optional(wheels, name, what, module):
    """The version of a part that was asked for, once the module that needs it loads; nothing where it was not asked for."""
    if not any(wheel.startswith(f"{name}-") for wheel in wheels):
        return {}
    try:
        import_module(module)
        return {name: import_module(name).__version__}
    except (ImportError, OSError) as error:
        fail(f"{what} does not load: {error}", "site.yml again, which builds the environment anew")


def main():
    try:
        import dask
        import distributed
        import joblib
        import lz4.frame
        import numpy
        import scipy
        import sklearn
        from sklearn import ensemble
    except (ImportError, OSError) as error:
        fail(f"Dask or scikit-learn does not load: {error}", "site.yml again, which builds the environment anew")
    grow(ensemble)
    bundle = json.loads((HERE / "bundle.json").read_text(encoding="utf-8"))
    wheels = bundle["wheels"]
    # The dashboard draws with bokeh, and refuses one that is too old.
    more = optional(wheels, "bokeh", "Dask's dashboard", "distributed.dashboard.scheduler")
    more |= optional(wheels, "ray", "Ray", "ray.util.joblib")
    state = {
        "python": platform.python_version(),
        "architecture": platform.machine(),
        "dask": dask.__version__,
        "distributed": distributed.__version__,
        "joblib": joblib.__version__,
        "lz4": lz4.__version__,
        "numpy": numpy.__version__,
        "scikit_learn": sklearn.__version__,
        "scipy": scipy.__version__,
        **more,
        "wheels": wheels,
    }
    scratch = HERE / "runtime.json.new"
    scratch.write_text(json.dumps(state, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    os.replace(scratch, HERE / "runtime.json")


if __name__ == "__main__":
    main()
