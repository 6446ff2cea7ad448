import hashlib
import importlib.util
import zipfile
from pathlib import Path
from types import ModuleType

import pytest

from harness.paths import ANSIBLE


def load() -> ModuleType:
    path = ANSIBLE / "roles" / "runtime" / "files" / "aarch64_relink.py"
    spec = importlib.util.spec_from_file_location("aarch64_relink", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


relink = load()
NEEDED = ["libdl.so.2", "libarmpl_lp64_mp.so", "libamath.so", "libastring.so", "libc.so.6"]


def test_the_library_is_linked_to_what_debian_has() -> None:
    assert relink.patchelf_arguments(NEEDED) == [
        *("--replace-needed", "libarmpl_lp64_mp.so", "libopenblas.so.0"),
        *("--replace-needed", "libamath.so", "liblapacke.so.3"),
        *("--remove-needed", "libastring.so"),
    ]


def test_another_library_is_refused() -> None:
    with pytest.raises(relink.RelinkError, match=r"libastring\.so"):
        relink.patchelf_arguments(NEEDED[:3])


def test_the_wheel_stays_a_wheel(tmp_path: Path) -> None:
    source, target = tmp_path / "in.whl", tmp_path / "out.whl"
    record = f"mxnet/__init__.py,sha256=x,1\n{relink.LIBRARY},sha256=old,3\nm.dist-info/RECORD,,\n"
    with zipfile.ZipFile(source, "w", zipfile.ZIP_DEFLATED) as wheel:
        wheel.writestr("mxnet/__init__.py", "1")
        wheel.writestr(relink.LIBRARY, "old")
        wheel.writestr("m.dist-info/RECORD", record)
    relink.rewrite(source, target, b"new!")
    with zipfile.ZipFile(target) as wheel:
        assert wheel.namelist() == ["mxnet/__init__.py", relink.LIBRARY, "m.dist-info/RECORD"]
        assert wheel.read(relink.LIBRARY) == b"new!"
        line = wheel.read("m.dist-info/RECORD").decode().splitlines()[1]
    assert line.startswith(f"{relink.LIBRARY},sha256=")
    assert line.endswith(",4")


def test_a_record_without_the_library_is_refused() -> None:
    with pytest.raises(relink.RelinkError, match="0 lines"):
        relink.replace_record("a,b,1\n", relink.LIBRARY, b"")


def test_what_is_there_with_the_right_hash_is_kept(tmp_path: Path) -> None:
    wheel = tmp_path / "x.whl"
    wheel.write_bytes(b"done")
    assert relink.make(wheel, hashlib.sha256(b"done").hexdigest()) is False
