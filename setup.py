"""Builds the native rooms. FASTSCHED_CHECKED=1 turns the bounds, wraparound and initialised checks on."""

import os

from Cython.Build import cythonize
from setuptools import Extension, setup

checked = os.environ.get("FASTSCHED_CHECKED") == "1"
flags = ["-O3", "-ffp-contract=off"] if os.name == "posix" else ["/O2"]

setup(
    ext_modules=cythonize(
        [
            Extension(f"fastsched.{room}", [f"src/fastsched/{room}.pyx"], extra_compile_args=flags)
            for room in ("_arrow", "_graphs", "_order", "_facts", "_core", "_timeline", "_read")
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
)
