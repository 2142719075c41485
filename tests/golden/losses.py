"""Writes losses.safetensors: every loss of Keras (on JAX, float64), per sample and as a mean, with gradients. See README.md."""

import numpy as np

from book import Book
from keras_on_jax import jax, keras, set_float

set_float("float64")
random = np.random.default_rng(42)
book = Book()


def case(name, op, loss, truth, guess, weight=None, **attributes):
    """`y` is the mean that Keras reports, `dx0` its gradient with respect to the guess `x0`, `each` one loss a sample."""
    def mean(x):
        return loss(reduction="sum_over_batch_size", dtype="float64")(truth, x, sample_weight=weight)

    y, dx = jax.value_and_grad(mean)(jax.numpy.asarray(guess, "float64"))
    each = loss(reduction=None, dtype="float64")(truth, jax.numpy.asarray(guess, "float64"), sample_weight=weight)
    tensors = {"x0": np.asarray(guess, np.float64), "x1": truth, "y": y, "dx0": dx, "each": each}
    if weight is not None:
        tensors["weight"] = weight
    if y.dtype != np.float64 or dx.dtype != np.float64 or each.dtype != np.float64:
        raise TypeError(f"{name} was not computed in float64: {y.dtype}, {dx.dtype}, {each.dtype}")
    book.add(name, op, attributes, tensors)


def both(op, loss, truth, guess, **attributes):
    """Without and with weights of the samples."""
    case(op, op, lambda **more: loss(**attributes, **more), truth, guess, **attributes)
    weight = np.array([0.5, 0.0, 2.0, 1.0])
    case(f"{op}/weighted", op, lambda **more: loss(**attributes, **more), truth, guess, weight, **attributes)


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


losses = keras.losses
logits = 3 * random.standard_normal((4, 5))
labels = np.array([2, 0, 4, 1], np.int64)
one_hot = np.eye(5)[labels]
bits = np.array([[1.0, 0, 0, 1, 1], [0, 0, 1, 1, 0], [1, 1, 1, 0, 0], [0, 1, 0, 1, 0]])
certain = np.array([[1.0, 0, 0], [0, 1, 0], [0, 0, 1], [0.5, 0.5, 0]])  # probabilities that meet the clip at 1e-7
far = np.array([[1e3, 0, -1e3], [-1e3, 0, 1e3], [0, 0, 0], [50, -50, 0.0]])
three = np.array([0, 0, 1, 2], np.int64)

sparse, categorical, binary = losses.SparseCategoricalCrossentropy, losses.CategoricalCrossentropy, losses.BinaryCrossentropy
both("sparse_categorical_crossentropy", sparse, labels, softmax(logits))
both("sparse_categorical_crossentropy_logits", lambda **m: sparse(from_logits=True, **m), labels, logits)
both("categorical_crossentropy", categorical, one_hot, softmax(logits))
both("categorical_crossentropy_logits", lambda **m: categorical(from_logits=True, **m), one_hot, logits)
both("binary_crossentropy", binary, bits, 1 / (1 + np.exp(-logits)))
both("binary_crossentropy_logits", lambda **m: binary(from_logits=True, **m), bits, logits)
case("sparse_categorical_crossentropy/clip", "sparse_categorical_crossentropy", sparse, three, certain)
case("categorical_crossentropy/clip", "categorical_crossentropy", categorical, np.eye(3)[three], certain)
case("binary_crossentropy/clip", "binary_crossentropy", binary, np.eye(3)[three], certain)
case("sparse_categorical_crossentropy_logits/far", "sparse_categorical_crossentropy_logits", lambda **m: sparse(from_logits=True, **m), three, far)
case("categorical_crossentropy_logits/far", "categorical_crossentropy_logits", lambda **m: categorical(from_logits=True, **m), np.eye(3)[three], far)
case("binary_crossentropy_logits/far", "binary_crossentropy_logits", lambda **m: binary(from_logits=True, **m), np.eye(3)[three], far)
case("categorical_crossentropy/unscaled", "categorical_crossentropy", categorical, one_hot, 2 * softmax(logits))
smooth = {"label_smoothing": 0.1}
case("categorical_crossentropy/smooth", "categorical_crossentropy", lambda **m: categorical(**smooth, **m), one_hot, softmax(logits), **smooth)
case("binary_crossentropy/smooth", "binary_crossentropy", lambda **m: binary(**smooth, **m), bits, 1 / (1 + np.exp(-logits)), **smooth)

truth, guess = random.standard_normal((4, 5)), random.standard_normal((4, 5))
both("mean_squared_error", losses.MeanSquaredError, truth, guess)
both("mean_absolute_error", losses.MeanAbsoluteError, truth, guess)
both("huber", losses.Huber, truth, 2 * guess, delta=1.0)
case("huber/delta", "huber", lambda **m: losses.Huber(delta=0.5, **m), truth, guess, delta=0.5)
both("log_cosh", losses.LogCosh, truth, 4 * guess)
both("kl_divergence", losses.KLDivergence, softmax(truth), softmax(guess))
case("kl_divergence/clip", "kl_divergence", losses.KLDivergence, certain[::-1].copy(), certain)
signs = 2 * bits - 1
both("hinge", losses.Hinge, signs, guess)
case("hinge/bits", "hinge", losses.Hinge, bits, guess)  # labels 0 and 1 are taken as -1 and 1
both("squared_hinge", losses.SquaredHinge, signs, guess)
both("categorical_hinge", losses.CategoricalHinge, one_hot, guess)
both("poisson", losses.Poisson, np.abs(truth), np.abs(guess) + 0.1)
both("cosine_similarity", losses.CosineSimilarity, truth, guess)
case("cosine_similarity/axis", "cosine_similarity", lambda **m: losses.CosineSimilarity(axis=0, **m), truth, guess, axis=0)
case("mean_squared_error/rank_3", "mean_squared_error", losses.MeanSquaredError, *random.standard_normal((2, 2, 3, 4)))
case("mean_squared_error/column", "mean_squared_error", losses.MeanSquaredError, *random.standard_normal((2, 4, 1)))
book.save("losses")
