"""Lets MXNet 1.9.1 (2022) be imported by Python 3.12+ and NumPy 1.24+, without a change to MXNet or to the scripts that use it.

`_mxnet_compatibility.pth` imports this module at the start of every interpreter of the runtime. It waits for `import mxnet`,
then puts back what has been removed since: names of NumPy - for callers inside mxnet only, everybody else sees NumPy as it is -
and the two classes of distutils. Nothing happens where nothing is missing.

Where `native_kvstore` is to serve MXNet's distributed stores, it is registered once mxnet is there; a scheduler or server
(DMLC_ROLE) becomes the native program instead, before any of mxnet is loaded. MXNET_KVSTORE_IMPLEMENTATION (`native` or
`mxnet`) says which; where it is not set, the runtime's own file `native_kvstore/default`.
"""

import importlib.machinery
import importlib.util
import os
import sys
import types

_RENAMED = {
    "NaN": "nan",
    "NAN": "nan",
    "Inf": "inf",
    "Infinity": "inf",
    "PINF": "inf",
    "alltrue": "all",
    "sometrue": "any",
    "product": "prod",
    "cumproduct": "cumprod",
    "float_": "float64",
    "complex_": "complex128",
    "unicode_": "str_",
    "string_": "bytes_",
    "row_stack": "vstack",
    "round_": "round",
    "trapz": "trapezoid",
    "asfarray": "asarray",
}
_VALUES = {
    "bool": bool,
    "int": int,
    "float": float,
    "complex": complex,
    "object": object,
    "str": str,
    "PZERO": 0.0,
    "NZERO": -0.0,
    "NINF": float("-inf"),
}
# MXNet re-exports these in mxnet.numpy; NumPy has none to offer any more. They fail when they are called, not at import.
_GONE = {"mirr", "msort", "npv", "pmt", "ppmt", "pv", "rate", "in1d", "fv", "ipmt", "irr", "nper"}


def _called_by_mxnet():
    # 0 is this function, 1 the __getattr__ below, 2 whoever asked NumPy for the name.
    name = sys._getframe(2).f_globals.get("__name__", "")
    return name == "mxnet" or name.startswith("mxnet.")


def _gone(name):
    def function(*_arguments, **_options):
        raise NotImplementedError(f"mxnet.numpy.{name} needs numpy.{name}, which this version of NumPy no longer has")

    function.__name__ = name
    return function


def _mend_numpy():
    import numpy

    original = numpy.__getattr__

    def lookup(name):
        if _called_by_mxnet():
            if name in _VALUES:
                return _VALUES[name]
            if name in _RENAMED:
                return getattr(numpy, _RENAMED[name])
            if name in _GONE:
                return _gone(name)
        return original(name)

    numpy.__getattr__ = lookup


def _mend_distutils():
    if importlib.util.find_spec("distutils") is not None:
        return

    class Version:
        """Orders dotted version numbers: the part of distutils.version that MXNet uses."""

        def __init__(self, text=""):
            self.vstring = str(text)
            self.version = [int(part) if part.isdigit() else part for part in self.vstring.split(".")]

        def _key(self):
            return [(0, part, "") if isinstance(part, int) else (-1, 0, part) for part in self.version]

        def __str__(self):
            return self.vstring

        def __eq__(self, other):
            return self._key() == _version(other)._key()

        def __lt__(self, other):
            return self._key() < _version(other)._key()

        def __le__(self, other):
            return not _version(other) < self

        def __gt__(self, other):
            return _version(other) < self

        def __ge__(self, other):
            return not self < other

        __hash__ = None

    def _version(value):
        return value if isinstance(value, Version) else Version(value)

    package, module = types.ModuleType("distutils"), types.ModuleType("distutils.version")
    package.__path__ = []
    module.LooseVersion = module.StrictVersion = Version
    package.version = module
    sys.modules.update({"distutils": package, "distutils.version": module})


def _native_kvstore():
    """The directory of the native store where it is to serve; None where MXNet's own is."""
    directory = os.path.join(os.path.dirname(os.path.abspath(__file__)), "native_kvstore")
    chosen = os.environ.get("MXNET_KVSTORE_IMPLEMENTATION", "")
    if chosen not in ("", "native", "mxnet"):
        sys.exit(f"error: MXNET_KVSTORE_IMPLEMENTATION={chosen} is neither native nor mxnet\n  try: one of these")
    if not os.path.isdir(directory):
        if chosen == "native":
            sys.exit("error: this runtime has no native key-value store\n  try: provision the node again (site.yml)")
        return None
    if not chosen:
        with open(os.path.join(directory, "default"), encoding="utf-8") as file:
            chosen = file.read().strip()
    return directory if chosen == "native" else None


def _before():
    """What must be done before mxnet's own code runs; the native store's directory where that is to serve."""
    directory = _native_kvstore()
    if directory and os.environ.get("DMLC_ROLE") in ("scheduler", "server"):
        sys.stdout.flush()
        os.execv(os.path.join(directory, "kvstore"), ["kvstore"])  # noqa: S606 - the process becomes it
    _mend_distutils()
    _mend_numpy()
    return directory


class _WaitForMxnet:
    """A finder that finds mxnet where Python does, and is told when it is imported; who only looks for it changes nothing."""

    def find_spec(self, name, path=None, target=None):
        if name != "mxnet":
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path, target)
        if spec is None or spec.loader is None:
            return spec
        load = spec.loader.exec_module

        def exec_module(module):
            if self in sys.meta_path:
                sys.meta_path.remove(self)
            directory = _before()
            load(module)
            if directory:
                import native_kvstore

                native_kvstore.register()

        spec.loader.exec_module = exec_module
        return spec


sys.meta_path.insert(0, _WaitForMxnet())
