"""Writes optimizers.safetensors: five steps of each optimizer of Keras and PyTorch in float64, and labs' three-step oracle
of Keras in float32. See README.md."""

import numpy as np
import torch

from book import Book
from keras_on_jax import keras, set_float

random = np.random.default_rng(42)
book = Book()
START = np.array([1.0, -2.0, 0.5, 0.0, 3.0, -0.1])
GRADS = random.standard_normal((5, 6))
GRADS[:, 3] = 0.0  # a weight that never has a gradient
GRADS[2, 4] = 1e-12  # and one whose gradient once nearly vanishes
ORACLE = np.array([[0.5], [-0.25], [0.1]])


def keras_steps(optimizer, start, grads):
    variable = keras.Variable(start, dtype=keras.config.floatx())
    steps = []
    for grad in grads:
        optimizer.apply([keras.ops.convert_to_tensor(grad, dtype=keras.config.floatx())], [variable])
        steps.append(keras.ops.convert_to_numpy(variable).copy())
    return np.stack(steps)


def torch_steps(make, start, grads):
    w = torch.tensor(start, requires_grad=True)
    optimizer = make([w])
    steps = []
    for grad in grads:
        w.grad = torch.tensor(grad)
        optimizer.step()
        steps.append(w.detach().numpy().copy())
    return np.stack(steps)


def keras_cases():
    o = keras.optimizers
    return [
        ("sgd", o.SGD, {"learning_rate": 0.1}),
        ("sgd/momentum", o.SGD, {"learning_rate": 0.1, "momentum": 0.9}),
        ("sgd/nesterov", o.SGD, {"learning_rate": 0.1, "momentum": 0.9, "nesterov": True}),
        ("sgd/clipnorm", o.SGD, {"learning_rate": 0.1, "clipnorm": 1.0}),
        ("sgd/clipvalue", o.SGD, {"learning_rate": 0.1, "clipvalue": 0.5}),
        ("sgd/weight_decay", o.SGD, {"learning_rate": 0.1, "weight_decay": 0.01}),
        ("adam", o.Adam, {"learning_rate": 0.01}),
        ("adam/betas", o.Adam, {"learning_rate": 0.01, "beta_1": 0.8, "beta_2": 0.99, "epsilon": 1e-3}),
        ("adam/amsgrad", o.Adam, {"learning_rate": 0.01, "amsgrad": True}),
        ("adamw", o.AdamW, {"learning_rate": 0.01, "weight_decay": 0.004}),
        ("adamax", o.Adamax, {"learning_rate": 0.01}),
        ("nadam", o.Nadam, {"learning_rate": 0.01}),
        ("rmsprop", o.RMSprop, {"learning_rate": 0.01}),
        ("rmsprop/centered", o.RMSprop, {"learning_rate": 0.01, "momentum": 0.9, "centered": True}),
        ("adagrad", o.Adagrad, {"learning_rate": 0.01}),
        ("adadelta", o.Adadelta, {"learning_rate": 1.0}),
        ("rmsprop/momentum", o.RMSprop, {"learning_rate": 0.01, "momentum": 0.9}),
        ("rmsprop/only centered", o.RMSprop, {"learning_rate": 0.01, "centered": True}),
        ("lion", o.Lion, {"learning_rate": 0.01}),
        ("lion/weight_decay", o.Lion, {"learning_rate": 0.01, "weight_decay": 0.1}),
        ("adam/weight_decay", o.Adam, {"learning_rate": 0.01, "weight_decay": 0.1}),
        ("nadam/betas", o.Nadam, {"learning_rate": 0.01, "beta_1": 0.5, "beta_2": 0.9}),
    ]


def torch_cases():
    o = torch.optim
    return [
        ("sgd", o.SGD, {"lr": 0.1}),
        ("sgd/momentum", o.SGD, {"lr": 0.1, "momentum": 0.9}),
        ("sgd/nesterov", o.SGD, {"lr": 0.1, "momentum": 0.9, "nesterov": True}),
        ("sgd/dampening", o.SGD, {"lr": 0.1, "momentum": 0.9, "dampening": 0.5}),
        ("sgd/weight_decay", o.SGD, {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.01}),
        ("adam", o.Adam, {"lr": 0.01}),
        ("adam/betas", o.Adam, {"lr": 0.01, "betas": [0.8, 0.99], "eps": 1e-3}),
        ("adam/amsgrad", o.Adam, {"lr": 0.01, "amsgrad": True}),
        ("adam/weight_decay", o.Adam, {"lr": 0.01, "weight_decay": 0.01}),
        ("adamw", o.AdamW, {"lr": 0.01, "weight_decay": 0.01}),
        ("adamax", o.Adamax, {"lr": 0.01}),
        ("nadam", o.NAdam, {"lr": 0.01}),
        ("rmsprop", o.RMSprop, {"lr": 0.01}),
        ("adagrad", o.Adagrad, {"lr": 0.01}),
        ("rmsprop/centered", o.RMSprop, {"lr": 0.01, "momentum": 0.9, "centered": True}),
        ("adadelta", o.Adadelta, {"lr": 1.0}),
        ("nadam/weight_decay", o.NAdam, {"lr": 0.01, "weight_decay": 0.1}),
    ]


def oracle_cases():
    o = keras.optimizers
    return [
        ("nadam", o.Nadam, {}), ("adam", o.Adam, {}), ("adamax", o.Adamax, {}), ("adagrad", o.Adagrad, {}),
        ("rmsprop", o.RMSprop, {}), ("sgd/momentum", o.SGD, {"momentum": 0.9}),
        ("sgd/nesterov", o.SGD, {"momentum": 0.9, "nesterov": True}),
    ]


set_float("float64")
for name, make, attributes in keras_cases():
    steps = keras_steps(make(**attributes), START, GRADS)
    if steps.dtype != np.float64:
        raise TypeError(f"{name} was not computed in float64")
    book.add(f"keras/{name}", name.split("/")[0], attributes | {"from": "keras"}, {"w0": START, "grads": GRADS, "w": steps})
torch.set_default_dtype(torch.float64)  # NAdam keeps a product in the default type
for name, make, attributes in torch_cases():
    steps = torch_steps(lambda w: make(w, **attributes), START, GRADS)
    book.add(f"torch/{name}", name.split("/")[0], attributes | {"from": "torch"}, {"w0": START, "grads": GRADS, "w": steps})
set_float("float32")
for name, make, attributes in oracle_cases():
    attributes = {"learning_rate": 1e-3} | attributes
    start, grads = np.array([1.0], np.float32), ORACLE.astype(np.float32)
    steps = keras_steps(make(**attributes), start, grads)
    print(f"  {name}: {float(steps[-1, 0])}")
    book.add(f"oracle/{name}", name.split("/")[0], attributes | {"from": "keras"}, {"w0": start, "grads": grads, "w": steps})
book.save("optimizers")
