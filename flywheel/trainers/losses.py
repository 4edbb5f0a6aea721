"""Losses of classifiers for rare classes and for labels that are wrong, once for Keras and once for PyTorch.

All of them depend on a row by the logarithm of the probability that the model gives the label it has. So there is one
formula a loss, and one log-likelihood a framework, from logits, where nothing overflows.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

Loss = Literal["cross_entropy", "focal", "generalised_cross_entropy"]


def keras(
    loss: Loss = "cross_entropy", gamma: float = 2.0, q: float = 0.7, *, several: bool = False
) -> Callable[[Any, Any], Any]:
    """Return a loss for `compile`, of labels and logits: one for a binary label, else one for each class.

    Args:
        loss: `cross_entropy`; `focal` counts rows less that are right already, for rare classes (Lin et al. 2017);
            `generalised_cross_entropy` counts rows less that are very wrong, for noisy labels (Zhang & Sabuncu 2018).
        gamma: How much less, of `focal`; 0 is cross entropy.
        q: How much less, of `generalised_cross_entropy`: from 0, which is cross entropy, to 1, the mean absolute error.
        several: Whether a row has several labels, each with a logit of its own; NaN where one is not known.
    """
    from keras import ops

    def call(labels: Any, logits: Any) -> Any:
        if several:
            known = ops.cast(ops.logical_not(ops.isnan(labels)), logits.dtype)
            signs = 2 * ops.where(known > 0, ops.cast(labels, logits.dtype), 0) - 1
            each = _of(-ops.softplus(-signs * logits), ops.expm1, loss, gamma, q)
            return ops.mean(each * known, axis=-1)
        if len(logits.shape) == 1 or logits.shape[-1] == 1:
            signs = 2 * ops.reshape(ops.cast(labels, logits.dtype), (-1,)) - 1
            likelihood = -ops.softplus(-signs * ops.reshape(logits, (-1,)))
        else:
            index = ops.reshape(ops.cast(labels, "int32"), (-1, 1))
            likelihood = ops.take_along_axis(ops.log_softmax(logits), index, axis=-1)[:, 0]
        return _of(likelihood, ops.expm1, loss, gamma, q)

    return call


def torch(loss: Loss = "cross_entropy", gamma: float = 2.0, q: float = 0.7) -> Callable[[Any, Any], Any]:
    """Return the same of PyTorch: a loss of labels and logits, a value for each row."""
    from torch import expm1
    from torch.nn import functional

    def call(labels: Any, logits: Any) -> Any:
        if logits.ndim == 1 or logits.shape[-1] == 1:
            signs = 2 * labels.reshape(-1).to(logits.dtype) - 1
            likelihood = functional.logsigmoid(signs * logits.reshape(-1))
        else:
            index = labels.reshape(-1, 1).long()
            likelihood = functional.log_softmax(logits, -1).gather(-1, index)[:, 0]
        return _of(likelihood, expm1, loss, gamma, q)

    return call


def _of(likelihood: Any, expm1: Callable[[Any], Any], loss: Loss, gamma: float, q: float) -> Any:
    """Return the loss of each row.

    Args:
        likelihood: Logarithm of the probability of the label.
        expm1: The framework's exp(x) - 1, which keeps its digits where x is small.
        loss: Which.
        gamma: Of `focal`.
        q: Of `generalised_cross_entropy`.
    """
    if loss == "focal" and gamma:
        return -((-expm1(likelihood)) ** gamma) * likelihood
    if loss == "generalised_cross_entropy" and q:
        return -expm1(q * likelihood) / q
    return -likelihood
