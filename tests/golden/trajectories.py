"""Writes what Keras (on JAX) does in 200 training steps, for the tests on step exactness.

    python trajectories.py --fashion DIR [--mnist DIR]

DIR holds the four IDX .gz files of the set. Without --mnist, mnist.safetensors is left as it is. See README.md.
"""

import argparse
import gzip
import pathlib

import numpy as np
from safetensors.numpy import save_file

from keras_on_jax import keras, set_float

STEPS, BATCH, VALIDATION, SEED = 200, 32, 5000, 42
# Of the orders 42 to 81 the one that keeps fashion-bn farthest from the kink of relu: no activation comes nearer than 2.7e-6.
# A nearer one may fall on either side by rounding alone, and then two right programs part by up to 1e-3 within 200 steps.
ORDER = 50
HERE = pathlib.Path(__file__).parent


def read_idx(path):
    raw = gzip.decompress(path.read_bytes())
    rank = raw[3]
    shape = np.frombuffer(raw, ">u4", rank, 4)
    return np.frombuffer(raw, np.uint8, offset=4 + 4 * rank).reshape(shape)


def training_part(folder):
    """The images after the first 5,000, which are for validation; x / 255 in float32."""
    folder = pathlib.Path(folder)
    x = read_idx(folder / "train-images-idx3-ubyte.gz")[VALIDATION:].astype(np.float32) / np.float32(255)
    y = read_idx(folder / "train-labels-idx1-ubyte.gz")[VALIDATION:].astype(np.int32)
    return x, y


def fashion_bn():
    layers = keras.layers
    return [
        layers.Flatten(name="flatten"),
        layers.BatchNormalization(name="batch_normalization"),
        layers.Dense(300, activation="relu", name="dense"),
        layers.BatchNormalization(name="batch_normalization_1"),
        layers.Dense(100, activation="relu", name="dense_1"),
        layers.BatchNormalization(name="batch_normalization_2"),
        layers.Dense(10, activation="softmax", name="dense_2"),
    ]


def mnist():
    layers = keras.layers
    return [
        layers.Flatten(name="flatten"),
        layers.Dense(300, kernel_initializer="he_normal", name="dense"),
        layers.LeakyReLU(name="leaky_re_lu"),
        layers.Dense(100, kernel_initializer="he_normal", name="dense_1"),
        layers.LeakyReLU(name="leaky_re_lu_1"),
        layers.Dense(10, activation="softmax", name="dense_2"),
    ]


def weights(model):
    return {f"{layer.name}.{v.name}": np.asarray(v) for layer in model.layers for v in layer.weights}


def train(layers, data, batches, start):
    """The loss of every step, before its update, and the weights at the end. `start` of None draws them."""
    keras.utils.set_random_seed(SEED)
    model = keras.Sequential([keras.layers.Input((28, 28)), *layers()])
    model.compile(loss="sparse_categorical_crossentropy", optimizer=keras.optimizers.SGD(learning_rate=1e-3))
    if start is None:
        start = weights(model)
    for layer in model.layers:
        for variable in layer.weights:
            variable.assign(start[f"{layer.name}.{variable.name}"])
    x, y = data
    losses = []
    for batch in batches:
        losses.append(float(model.train_on_batch(x[batch].astype(keras.config.floatx()), y[batch])))
    return np.array(losses), weights(model), start


def trajectory(layers, data, batches, start=None):
    """The same run in float32 and in float64, from the same float32 weights."""
    set_float("float32")
    losses, final, start = train(layers, data, batches, start)
    set_float("float64")
    exact, _, _ = train(layers, data, batches, {k: v.astype(np.float64) for k, v in start.items()})
    print(f"  loss {losses[0]:.6f} -> {losses[-1]:.6f}; float32 against float64: {np.max(np.abs(losses / exact - 1)):.2e}")
    return start, final, {"batches": batches, "losses": losses.astype(np.float32), "losses_f64": exact}


def save(name, tensors, model):
    about = f"{model}: {STEPS} steps of SGD 1e-3, batch {BATCH}, on the images after the first {VALIDATION}, x / 255"
    path = HERE / f"{name}.safetensors"
    save_file({k: np.ascontiguousarray(v) for k, v in tensors.items()}, path, metadata={"about": about})
    path.chmod(0o644)


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--fashion", required=True, help="folder of Fashion-MNIST")
    arguments.add_argument("--mnist", help="folder of MNIST")
    arguments = arguments.parse_args()
    fashion = training_part(arguments.fashion)
    order = np.random.default_rng(ORDER).permutation(len(fashion[0])).astype(np.int32)
    batches = order[: STEPS * BATCH].reshape(STEPS, BATCH)

    print("fashion-bn")
    start, final, run = trajectory(fashion_bn, fashion, batches)
    run |= {f"initial/{k}": v for k, v in start.items()} | {f"final/{k}": v for k, v in final.items()}
    save("fashion-bn", run, "E7")

    print("mnist-on-fashion")
    start, _, run = trajectory(mnist, fashion, batches)
    save("mnist-on-fashion", run | {f"initial/{k}": v for k, v in start.items()}, "E1 on Fashion-MNIST")

    if arguments.mnist:
        print("mnist")
        _, _, run = trajectory(mnist, training_part(arguments.mnist), batches, start)
        save("mnist", run, "E1, from the weights in mnist-on-fashion.safetensors")


if __name__ == "__main__":
    main()
