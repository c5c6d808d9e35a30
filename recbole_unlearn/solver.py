"""Solvers of ``H x = v`` that see ``H`` only through its products, for Hessians that may be indefinite; fixed points.

``x`` and ``v`` are tables of shape ``(N, d)``, ``product`` is the function ``x -> H x``.
"""

from collections.abc import Callable

import numpy as np
import torch
from scipy.sparse.linalg import ArpackError, LinearOperator, eigsh

from recbole_unlearn.errors import Diverged
from recbole_unlearn.streams import numpy_stream


def spectral_radius(
    product: Callable[[torch.Tensor], torch.Tensor], like: torch.Tensor, tolerance: float = 1e-2
) -> float:
    """The largest magnitude of an eigenvalue of ``H``, by Lanczos from a fixed start.

    Args:
        like: any table of the shape, type and device that ``product`` takes.
        tolerance: relative accuracy.

    Raises:
        Diverged: Lanczos does not converge.
    """

    def multiply(vector):
        x = torch.from_numpy(vector.reshape(like.shape).astype(np.float32)).to(like)
        return product(x).cpu().numpy().ravel()

    operator = LinearOperator((like.numel(), like.numel()), matvec=multiply, dtype=np.float32)
    start = numpy_stream(0, "Lanczos").standard_normal(like.numel()).astype(np.float32)
    size = min(12, like.numel())
    try:
        return abs(
            float(eigsh(operator, k=1, which="LM", v0=start, ncv=size, tol=tolerance, return_eigenvectors=False)[0])
        )
    except ArpackError as error:
        raise Diverged(f"the spectral radius of the Hessian was not found ({error})") from None


def neumann(
    product: Callable[[torch.Tensor], torch.Tensor], v: torch.Tensor, scale: float, damping: float, iterations: int
) -> tuple[torch.Tensor, int, float]:
    """``x = h_T / scale`` with ``h_0 = v``, ``h_{t+1} = v + (1 - damping) h_t - H h_t / scale``.

    Converges if ``0 < lambda / scale + damping < 2`` for all eigenvalues lambda. Directions of negative eigenvalues
    grow from some step on. The series therefore ends before the residual ``v - damping h - H h / scale`` rises. If its
    first term does not lower the residual, ``x`` is zero.

    Returns:
        ``x``, the number of its terms, and the norm of the residual over that of ``v``.

    Raises:
        Diverged: a value is not finite, or the first residual is above ``2 |v|``, which means that ``scale`` is below
            the spectral radius.
    """

    def residual_of(h):
        return v - damping * h - product(h) / scale

    _check_finite(v)
    h, residual = torch.zeros_like(v), v
    for step in range(iterations + 1):
        further = h + residual
        further_residual = residual_of(further)
        _check_finite(further_residual)
        if step == 0 and further_residual.norm() > 2.001 * v.norm():
            raise Diverged(
                f"the Neumann series explodes: a scale of {scale:.3g} is below the Hessian's spectral radius"
            )
        if not further_residual.norm() < residual.norm():
            return h / scale, step, _ratio(residual, v)
        h, residual = further, further_residual
    return h / scale, iterations + 1, _ratio(residual, v)


def conjugate_gradient(
    product: Callable[[torch.Tensor], torch.Tensor], v: torch.Tensor, tolerance: float, iterations: int
) -> tuple[torch.Tensor, int, float]:
    """Conjugate gradient that stops before a direction of negative curvature.

    Its residual can rise from one step to the next; the result is the iterate with the smallest residual.

    Returns:
        As :func:`neumann`.

    Raises:
        Diverged: a value is not finite.
    """
    _check_finite(v)
    x, residual = torch.zeros_like(v), v
    direction, squared = v, v.square().sum()
    best = x, 0, squared
    for step in range(1, iterations + 1):
        along = product(direction)
        _check_finite(along)
        curvature = (direction * along).sum()
        if not curvature > 0:
            break
        length = squared / curvature
        x, residual = x + length * direction, residual - length * along
        previous, squared = squared, residual.square().sum()
        if squared < best[2]:
            best = x, step, squared
        if squared <= tolerance**2 * v.square().sum():
            break
        direction = residual + squared / previous * direction
    x, step, squared = best
    return x, step, float((squared / v.square().sum()).sqrt()) if v.any() else 0.0


def accelerated(x: torch.Tensor, step: torch.Tensor, before: tuple[torch.Tensor, torch.Tensor] | None) -> torch.Tensor:
    r"""The next point of :math:`x \leftarrow x + step(x)` with Anderson's acceleration of depth one.

    A secant through the last two steps says how far to go: farther where steps shrink slowly, less far where they
    overshoot (Anderson, JACM 1965; Walker and Ni, SIAM J. Numer. Anal. 2011). It adds or takes back at most the last
    change, because two steps that are nearly equal say nothing of where they lead.

    Args:
        x: a point.
        step: ``step(x)``, of ``x``'s shape.
        before: the previous point and its step; ``None`` at first.
    """
    if before is None:
        return x + step
    change = step - before[1]
    share = (change * step).sum() / change.square().sum().clamp(min=torch.finfo(change.dtype).tiny)
    return x + step - share.clamp(-1, 1) * (x - before[0] + change)


def _check_finite(table):
    if not table.isfinite().all():
        raise Diverged("gradients or Hessian-vector products are not finite")


def _ratio(residual, v):
    return float(residual.norm() / v.norm()) if v.any() else 0.0
