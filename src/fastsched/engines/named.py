"""The engines by their names, as a command line or a program says them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ..names import nearest
from .base import Engine
from .local import LocalEngine

__all__ = ["ENGINES", "check_engine", "make_engine"]

ENGINES = ("local", "dask", "dask://HOST:PORT", "ray", "ray://HOST:PORT")
SCHEMES = {"dask": "tcp://", "dask+tls": "tls://", "ray": ""}


def check_engine(name: str) -> None:
    """Raise ValueError for a name that is none of an engine's."""
    kind, slashes, where = name.partition("://")
    if name in ("local", "dask", "ray", "ray://auto") or (kind == "dask" and where.endswith(".json")):
        return
    if slashes and kind in SCHEMES:
        if re.fullmatch(r".+:\d+", where):
            return
        raise ValueError(f"the engine {name!r} names no host and port; {kind}://HOST:PORT is wanted")
    near = nearest(kind, ["local", "dask", "ray"])
    hint = f"; did you mean {near!r}?" if near and near != kind else ""
    raise ValueError(f"unknown engine {name!r}{hint} (known: {', '.join(ENGINES)})")


def make_engine(name: str, *, cwd: str, env: Mapping[str, str] | None, containment: str, output_cap_mb: int) -> Engine:
    """The engine of that name; nothing is reached yet.

    Raises:
        ValueError: for a name that is none. MissingExtraError: where it needs what is not installed.
        OSError: where this system cannot run commands.
    """
    check_engine(name)
    kind, _, where = name.partition("://")
    how: dict[str, Any] = {"cwd": cwd, "env": env, "containment": containment, "output_cap_mb": output_cap_mb}
    if kind == "local":
        return LocalEngine(**how)
    # Each loads what takes a second, and is an extra.
    if kind == "ray":
        from .ray import RayEngine

        return RayEngine(where or None, **how)
    from .dask import DaskEngine

    is_file = where.endswith(".json")
    return DaskEngine((where if is_file else SCHEMES[kind] + where) if where else None, **how)
