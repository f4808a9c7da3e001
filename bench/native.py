"""Builds the native helpers of benches and tests, with the flags of the rooms, and loads them; none is in the wheel.

`load("limit/floor.pyx")` from a bench; `python bench/native.py FILE.pyx` builds one and prints where it is. Needs
Cython and setuptools (the `bench` extra); FASTSCHED_SANITIZE and FASTSCHED_CHECKED count as they do in setup.py.
"""

from __future__ import annotations

import functools
import importlib.util
import os
import subprocess
import sys
import sysconfig
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).resolve().parent.parent


@functools.cache
def load(source: str) -> ModuleType:
    """The module built from a file below bench/. Raises ImportError where there is nothing to build it with."""
    for tool in ("Cython", "setuptools"):
        if importlib.util.find_spec(tool) is None:
            raise ImportError(f"{tool} is not installed; it is in the `bench` extra")
    built = build(ROOT / "bench" / source)
    spec = importlib.util.spec_from_file_location(Path(source).stem, built)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def build(source: Path) -> Path:
    """The extension built from this file, in a folder below build/ for each way of building."""
    kind = "-".join(filter(None, ("native", os.environ.get("FASTSCHED_SANITIZE"), os.environ.get("FASTSCHED_CHECKED"))))
    folder = ROOT / "build" / kind
    built = folder / (source.stem + sysconfig.get_config_var("EXT_SUFFIX"))
    newest = max(path.stat().st_mtime for path in (source, ROOT / "setup.py"))
    if not built.is_file() or built.stat().st_mtime < newest:
        command = [
            sys.executable,
            "setup.py",
            "-q",
            "build_ext",
            "--build-lib",
            folder,
            "--build-temp",
            folder / "temp",
        ]
        environment = {**os.environ, "FASTSCHED_BUILD": str(source.relative_to(ROOT))}
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"{source.name} could not be built:\n{done.stdout}{done.stderr}")
    return built


if __name__ == "__main__":
    print(build(Path(sys.argv[1]).resolve()))
