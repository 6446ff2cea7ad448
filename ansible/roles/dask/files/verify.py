"""Proves that this environment works and writes runtime.json next to itself; runs on the node, in its own interpreter."""

import json
import os
import platform
import sys
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


def drawing_parts(wheels):
    """What the dashboard is drawn with, where that was asked for."""
    if not any(wheel.startswith("bokeh-") for wheel in wheels):
        return {}
    try:
        import bokeh
        import distributed.dashboard.scheduler  # noqa: F401 - it draws with bokeh, and refuses one that is too old
    except (ImportError, OSError) as error:
        fail(f"Dask's dashboard does not load: {error}", "site.yml again, which builds the environment anew")
    return {"bokeh": bokeh.__version__}


def ray_parts(wheels):
    """Ray, where it was asked for."""
    if not any(wheel.startswith("ray-") for wheel in wheels):
        return {}
    try:
        import ray
        import ray.util.joblib  # what it is for here
    except (ImportError, OSError) as error:
        fail(f"Ray does not load: {error}", "site.yml again, which builds the environment anew")
    return {"ray": ray.__version__}


def main():
    try:
        import dask
        import distributed
        import joblib
        import numpy
        import scipy
        import sklearn
        from sklearn import ensemble
    except (ImportError, OSError) as error:
        fail(f"Dask or scikit-learn does not load: {error}", "site.yml again, which builds the environment anew")
    grow(ensemble)
    bundle = json.loads((HERE / "bundle.json").read_text(encoding="utf-8"))
    more = drawing_parts(bundle["wheels"]) | ray_parts(bundle["wheels"])
    state = {
        "python": platform.python_version(),
        "architecture": platform.machine(),
        "dask": dask.__version__,
        "distributed": distributed.__version__,
        "joblib": joblib.__version__,
        "numpy": numpy.__version__,
        "scikit_learn": sklearn.__version__,
        "scipy": scipy.__version__,
        **more,
        "wheels": bundle["wheels"],
    }
    scratch = HERE / "runtime.json.new"
    scratch.write_text(json.dumps(state, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    os.replace(scratch, HERE / "runtime.json")


if __name__ == "__main__":
    main()
