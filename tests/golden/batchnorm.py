"""Writes batchnorm.safetensors: batch normalisation by the rules of Keras and of PyTorch, in float64. See README.md."""

import numpy as np
import torch

from book import Book
from keras_on_jax import jax, keras, set_float

random = np.random.default_rng(42)
book = Book()
set_float("float64")


def draw(shape, features):
    """Inputs, gamma, beta and moving statistics that are none of them 0 or 1, and a gradient `dy`."""
    return {
        "x": 1.5 + 2.0 * random.standard_normal(shape),
        "gamma": random.standard_normal(features),
        "beta": random.standard_normal(features),
        "moving_mean": random.standard_normal(features),
        "moving_variance": 0.5 + random.random(features),
        "dy": random.standard_normal(shape),
    }


def keras_case(name, training, t, **settings):
    """Channels last. Also `new_moving_mean` and `new_moving_variance`."""
    layer = keras.layers.BatchNormalization(**settings)
    layer.build(t["x"].shape)
    fixed = [t["moving_mean"], t["moving_variance"]]

    def run(x, gamma, beta):
        return layer.stateless_call([gamma, beta], fixed, x, training=training)

    y, pull, moving = jax.vjp(run, t["x"], t["gamma"], t["beta"], has_aux=True)
    dx, dgamma, dbeta = pull(jax.numpy.asarray(t["dy"]))
    if y.dtype != np.float64 or moving[1].dtype != np.float64:
        raise TypeError(f"{name} was not computed in float64")
    out = {"y": y, "dx": dx, "dgamma": dgamma, "dbeta": dbeta, "new_moving_mean": moving[0], "new_moving_variance": moving[1]}
    attributes = {"from": "keras", "training": training, "momentum": 0.99, "epsilon": 1e-3, "axis": -1} | settings
    book.add(f"keras/{name}", "batch_norm", attributes, t | out)


def torch_case(name, training, t, **settings):
    """Channels second. Here momentum is the share of the new batch."""
    settings = {"momentum": 0.1, "eps": 1e-5} | settings
    x, gamma, beta = (torch.tensor(t[k], requires_grad=True) for k in ("x", "gamma", "beta"))
    mean, variance = torch.tensor(t["moving_mean"]), torch.tensor(t["moving_variance"])
    y = torch.nn.functional.batch_norm(x, mean, variance, gamma, beta, training, **settings)
    dx, dgamma, dbeta = torch.autograd.grad(y, [x, gamma, beta], torch.tensor(t["dy"]))
    out = {"y": y.detach(), "dx": dx, "dgamma": dgamma, "dbeta": dbeta, "new_moving_mean": mean, "new_moving_variance": variance}
    attributes = {"from": "torch", "training": training, "momentum": settings["momentum"], "epsilon": settings["eps"], "axis": 1}
    book.add(f"torch/{name}", "batch_norm", attributes, t | {k: v.numpy() for k, v in out.items()})


for training in (True, False):
    mode = "train" if training else "eval"
    keras_case(f"{mode}/2d", training, draw((6, 3), 3))
    keras_case(f"{mode}/4d", training, draw((2, 4, 4, 3), 3))
    keras_case(f"{mode}/settings", training, draw((6, 3), 3), momentum=0.9, epsilon=1e-5)
    torch_case(f"{mode}/2d", training, draw((6, 3), 3))
    torch_case(f"{mode}/4d", training, draw((2, 3, 4, 4), 3))
    torch_case(f"{mode}/settings", training, draw((6, 3), 3), momentum=0.3, eps=1e-3)
constant = draw((6, 3), 3)
constant["x"][:, 1] = 2.5  # a feature without variance, where epsilon alone decides
keras_case("train/constant", True, constant)
torch_case("train/constant", True, constant)
keras_case("train/one", True, draw((1, 3), 3))
book.save("batchnorm")
