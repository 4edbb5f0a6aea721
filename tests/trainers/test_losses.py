"""Losses: the same from both frameworks, and their gradients those of finite differences."""

import numpy as np
import pytest

from flywheel.trainers import losses

torch = pytest.importorskip("torch")

CASES = [
    ("cross_entropy", {}),
    ("focal", {"gamma": 2.0}),
    ("focal", {"gamma": 1.0}),
    ("generalised_cross_entropy", {"q": 0.7}),
    ("generalised_cross_entropy", {"q": 1.0}),
]
LOGITS = np.array([[-30.0], [-2.0], [0.0], [0.3], [4.0], [30.0]])
CLASSES = np.random.default_rng(0).normal(0, 3, (6, 3))


def world(kind):
    """Logits and labels, of a binary label and of three classes."""
    return (LOGITS, np.array([1, 0, 1, 0, 1, 0])) if kind == "binary" else (CLASSES, np.array([0, 1, 2, 0, 1, 2]))


def of_torch(name, options, logits, labels):
    return losses.torch(name, **options)(torch.tensor(labels), torch.tensor(logits, requires_grad=True))


@pytest.mark.parametrize("kind", ["binary", "multiclass"])
@pytest.mark.parametrize(("name", "options"), CASES)
def test_gradients_are_those_of_finite_differences(name, options, kind):
    logits, labels = world(kind)
    given = torch.tensor(logits, requires_grad=True)
    losses.torch(name, **options)(torch.tensor(labels), given).sum().backward()
    for row in range(len(logits)):
        for column in range(logits.shape[1]):
            step = np.zeros_like(logits)
            step[row, column] = 1e-6
            ahead, behind = (of_torch(name, options, logits + sign * step, labels).sum().item() for sign in (1, -1))
            assert given.grad[row, column].item() == pytest.approx((ahead - behind) / 2e-6, rel=1e-5, abs=1e-7)


def test_one_logit_and_two_are_the_same_model():
    both = np.concatenate([np.zeros_like(LOGITS), LOGITS], axis=1)
    labels = world("binary")[1]
    for name, options in CASES:
        one, two = of_torch(name, options, LOGITS, labels), of_torch(name, options, both, labels)
        assert torch.allclose(one, two, rtol=1e-9)


def test_focal_counts_what_is_right_less_and_generalised_cross_entropy_what_is_very_wrong():
    right, wrong = np.array([[5.0]]), np.array([[-20.0]])
    ratio = {
        name: [of_torch(name, {}, logits, np.array([1])).item() for logits in (right, wrong)]
        for name in ("cross_entropy", "focal", "generalised_cross_entropy")
    }

    assert ratio["focal"][0] < ratio["cross_entropy"][0] / 1000
    assert ratio["focal"][1] == pytest.approx(ratio["cross_entropy"][1])
    assert ratio["generalised_cross_entropy"][1] < 1 / 0.7


def test_the_mean_absolute_error_is_one_end_of_generalised_cross_entropy():
    found = of_torch("generalised_cross_entropy", {"q": 1.0}, LOGITS, world("binary")[1]).detach().numpy()
    chance = 1 / (1 + np.exp(-LOGITS[:, 0]))

    assert np.allclose(found, np.abs(world("binary")[1] - chance))


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["binary", "multiclass"])
def test_both_frameworks_give_the_same(kind):
    import keras
    import tensorflow as tf

    logits, labels = world(kind)
    logits = logits.astype(np.float32)
    for name, options in CASES:
        given = tf.Variable(logits)
        with tf.GradientTape() as tape:
            found = losses.keras(name, **options)(keras.ops.convert_to_tensor(labels), given)
            total = tf.reduce_sum(found)
        leaf = torch.tensor(logits, requires_grad=True)
        expected = losses.torch(name, **options)(torch.tensor(labels), leaf)
        expected.sum().backward()

        assert np.allclose(found.numpy(), expected.detach().numpy(), rtol=1e-5, atol=1e-7)
        assert np.allclose(tape.gradient(total, given).numpy(), leaf.grad.numpy(), rtol=1e-4, atol=1e-6)
