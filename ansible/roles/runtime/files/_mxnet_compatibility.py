"""Lets MXNet 1.9.1 (2022) be imported by Python 3.12+ and NumPy 1.24+, without a change to MXNet or to the scripts that use it.

`_mxnet_compatibility.pth` imports this module at the start of every interpreter of the runtime. It waits for `import mxnet`,
then puts back what has been removed since: names of NumPy - for callers inside mxnet only, everybody else sees NumPy as it is -
and the two classes of distutils. Nothing happens where nothing is missing.
"""

import importlib.util
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


class _WaitForMxnet:
    """A finder that finds nothing; it only notices that mxnet is about to be imported."""

    def find_spec(self, name, path=None, target=None):
        if name == "mxnet":
            sys.meta_path.remove(self)
            _mend_distutils()
            _mend_numpy()


sys.meta_path.insert(0, _WaitForMxnet())
