"""Builds the native rooms.

FASTSCHED_CHECKED=1 turns the bounds, wraparound and initialised checks on. FASTSCHED_SANITIZE=address or undefined
builds under that sanitizer. FASTSCHED_BUILD="a.pyx b.pyx" builds these files with the same flags instead of the
rooms; they are never part of the wheel (bench/native.py).
"""

import os
import sys
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, setup

SANITIZE = {
    "": [],
    "address": ["-fsanitize=address", "-fno-omit-frame-pointer", "-g", "-O1"],
    # Extensions are built with Python's own -fwrapv, under which a signed overflow is no finding.
    "undefined": ["-fsanitize=undefined", "-fno-sanitize-recover=all", "-g", "-O1", "-fno-wrapv"],
}
checked = os.environ.get("FASTSCHED_CHECKED") == "1"
sanitize = SANITIZE[os.environ.get("FASTSCHED_SANITIZE", "")]
flags = ["-O3", "-ffp-contract=off", *sanitize] if os.name == "posix" else ["/O2"]
others = {Path(path).stem: path for path in os.environ.get("FASTSCHED_BUILD", "").split()}
names = (
    "_arrow", "_export", "_graphs", "_order", "_bounds", "_windows", "_tables", "_facts", "_core", "_timeline",
    "_replay", "_read", "_search", "_large",
)  # fmt: skip
rooms = {f"fastsched.{name}": f"src/fastsched/{name}.pyx" for name in names}
if sys.platform == "linux":
    rooms["fastsched.engines._linux"] = "src/fastsched/engines/_linux.pyx"

setup(
    ext_modules=cythonize(
        [
            Extension(name, [path], extra_compile_args=flags, extra_link_args=sanitize)
            for name, path in (others or rooms).items()
        ],
        compiler_directives={
            "boundscheck": checked,
            "wraparound": False,  # so under boundscheck a negative index raises, and does not wrap around in silence
            "initializedcheck": checked,
            "cdivision": not checked,
            "freethreading_compatible": False,
        },
        force=True,
    ),
    options={"build_ext": {"parallel": os.cpu_count()}},
)
