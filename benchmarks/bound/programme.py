"""Solve linear programmes with scipy, and add the types that scipy does not declare."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]


# `import_module` needs no stubs.
_optimize: Any = import_module("scipy.optimize")
sparse: Any = import_module("scipy.sparse")


def least(
    cost: Floats,
    limits: tuple[Any, Floats],
    *,
    balance: tuple[Any, Floats] | None = None,
    bounds: Sequence[tuple[float | None, float | None]] | tuple[float, None] = (0, None),
    method: str = "highs",
) -> tuple[Floats, Floats]:
    """Return the variables x with the least total cost, and the dual value of each upper limit.

    The dual value is the decrease of the least cost if the limit rises by one. It is never
    negative.

    Args:
        cost: Cost of one unit of each variable.
        limits: The matrix A and the vector b of the conditions A x <= b.
        balance: The matrix C and the vector d of the conditions C x = d; None if there are
            no such conditions.
        bounds: Smallest and largest value of x: one pair for each variable, or one pair for all
            variables. None in a pair means that there is no bound.
        method: Name of the method of `scipy.optimize.linprog`.

    Raises:
        RuntimeError: No solution was found.
    """
    rows, equal = balance or (None, None)
    solved = _optimize.linprog(
        cost,
        A_ub=limits[0],
        b_ub=limits[1],
        A_eq=rows,
        b_eq=equal,
        bounds=bounds,
        method=method,
    )
    if solved.status != 0:
        raise RuntimeError(f"a linear programme of the bound was not solved: {solved.message}")
    saved: Floats = np.maximum(0.0, -np.asarray(solved.ineqlin.marginals, dtype=np.float64))
    return np.asarray(solved.x, dtype=np.float64), saved
