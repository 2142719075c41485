"""Prints how often Keras' sandals and shirts are told apart better on the layers of `fashion-8` than from scratch.

    gradus train fashion-8
    python tests/golden/transfer_fashion.py cli/data/fashion-mnist runs/0001-fashion-8/model.safetensors 17

Both models as in the recipes `sandals-shirts` and `sandals-shirts-transfer`: 200 images, SGD with learning rate 1e-3, 20
epochs, of which 4 with frozen layers. A line for each seed with both test accuracies, and the count at the end.
"""

import gzip
import os
import sys

os.environ["KERAS_BACKEND"] = "jax"
import keras
import numpy as np
from safetensors.numpy import load_file

FOLDER, BASE, SEEDS = sys.argv[1], load_file(sys.argv[2]), int(sys.argv[3])


def read(part):
    def raw(name, header):
        with gzip.open(f"{FOLDER}/{part}-{name}.gz") as file:
            return np.frombuffer(file.read(), np.uint8, offset=header)

    x = raw("images-idx3-ubyte", 16).reshape(-1, 28, 28) / np.float32(255)
    return x, raw("labels-idx1-ubyte", 8)


def sandals_and_shirts(x, y):
    chosen = (y == 5) | (y == 6)
    return x[chosen], (y[chosen] == 6).astype(np.float32)


def model(transfer):
    hidden = [keras.layers.Dense(units, activation="selu") for units in (300, 100, 50, 50, 50)]
    if transfer:
        for number, layer in enumerate(hidden):
            name = f"dense_{number}" if number else "dense"
            layer.build((None, BASE[f"{name}.kernel"].shape[0]))
            layer.set_weights([BASE[f"{name}.kernel"], BASE[f"{name}.bias"]])
    head = keras.layers.Dense(1, activation="sigmoid")
    return keras.Sequential([keras.layers.Input((28, 28)), keras.layers.Flatten(), *hidden, head]), hidden


def accuracy(transfer, seed, train, test):
    keras.utils.set_random_seed(seed)
    net, hidden = model(transfer)
    phases = [(4, False), (16, True)] if transfer else [(20, True)]
    for epochs, trainable in phases:
        for layer in hidden:
            layer.trainable = trainable
        net.compile(keras.optimizers.SGD(1e-3), "binary_crossentropy", metrics=["accuracy"])
        net.fit(*train, epochs=epochs, verbose=0)
    return net.evaluate(*test, verbose=0)[1]


images, labels = read("train")
train = [part[:200] for part in sandals_and_shirts(images[5000:], labels[5000:])]
test = sandals_and_shirts(*read("t10k"))
results = [[accuracy(transfer, seed, train, test) for transfer in (False, True)] for seed in range(SEEDS)]
for seed, (scratch, transferred) in enumerate(results):
    print(f"seed {seed}: from scratch {scratch:.4f}, on fashion-8 {transferred:.4f}")
print(f"ahead on fashion-8 in {sum(a < b for a, b in results)} of {SEEDS} seeds")
