"""Writes the losses of 200 training steps of every dense lab by Keras (on JAX), for the tests on step exactness.

    python labs.py

Nothing is drawn: initial weights, the order of the images and the images of `ffn-cifar` are functions of a counter (`mix`), which
the test computes too. So the file holds losses alone. All other labs see Fashion-MNIST as it lies in the repository. See README.md.
"""

import json
import pathlib

import numpy as np
from safetensors.numpy import save_file

from keras_on_jax import keras, set_float
from trajectories import read_idx

HERE = pathlib.Path(__file__).parent
CLOTHES = HERE / "../../cli/data/fashion-mnist"
STEPS = 200
L = keras.layers


def mix(numbers, salt):
    """The finaliser of MurmurHash3 (32 bits): a counter becomes noise."""
    x = (np.asarray(numbers, np.uint64) + np.uint64(salt * 0x9E3779B9)) & np.uint64(0xFFFFFFFF)
    for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35), (16, 1)):
        x ^= x >> np.uint64(shift)
        x = (x * np.uint64(factor)) & np.uint64(0xFFFFFFFF)
    return x


def uniform(shape, spread, salt):
    """Values in [-spread, spread), rounded once to float32."""
    unit = mix(np.arange(np.prod(shape, dtype=int)), salt).astype(np.float64) / 2.0**32
    return (spread * (2.0 * unit - 1.0)).astype(np.float32).reshape(shape)


def spread(init, shape):
    """Half the width of the uniform distribution that has the variance of the Keras initialiser."""
    fan_in, fan_out = shape[0], shape[-1]
    return {"zeros": 0.0, "random": np.sqrt(3.0), "he": np.sqrt(6.0 / fan_in), "glorot": np.sqrt(6.0 / (fan_in + fan_out))}[init]


def dense(units, activations, last):
    return [L.Flatten(), *(L.Dense(n, activation=a) for n, a in zip(units, activations)), L.Dense(last[0], activation=last[1])]


def leaky(last):
    net = [L.Flatten()]
    for units in (300, 100):
        net += [L.Dense(units), L.LeakyReLU()]
    return net + [L.Dense(last, activation="softmax")]


def selus(last):
    return dense((300, 100, 50, 50, 50), ("selu",) * 5, last)


SPARSE, BINARY = "sparse_categorical_crossentropy", "binary_crossentropy"


def labs():
    """Name, layers, initialiser, images and labels, batch, loss, optimizer, how many steps all but the last layer rest."""
    sgd, adam, nadam = keras.optimizers.SGD, keras.optimizers.Adam, keras.optimizers.Nadam
    x = read_idx(CLOTHES / "train-images-idx3-ubyte.gz")
    y = read_idx(CLOTHES / "train-labels-idx1-ubyte.gz").astype(np.int64)
    later, earlier = (x[5000:], y[5000:]), (x[:-6000], y[:-6000])
    parity = (later[0], 1 - later[1] % 2)
    eight_of = np.array([0, 1, 2, 3, 4, -1, -1, 5, 6, 7])[later[1]]
    eight = (later[0][eight_of >= 0], eight_of[eight_of >= 0])
    two_of = np.array([-1, -1, -1, -1, -1, 0, 1, -1, -1, -1])[later[1]]
    two = (later[0][two_of >= 0][:200], two_of[two_of >= 0][:200])
    noise = (mix(np.arange(500 * 3072), 7).astype(np.uint8).reshape(500, 32, 32, 3), (mix(np.arange(500), 8) % 10).astype(np.int64))
    softmax = (10, "softmax")
    hidden = dense((128,), ("relu",), softmax)
    yield "mnist-parity", leaky(2), "he", parity, 32, SPARSE, sgd(1e-3), 0
    yield "mnist-parity-transfer", leaky(2), "he", parity, 32, SPARSE, sgd(1e-3), STEPS
    yield "init-sgd", dense((256, 128), ("relu", "relu"), softmax), "he", earlier, 32, SPARSE, sgd(0.01), 0
    for init in ("zeros", "glorot", "he"):
        yield f"init-adam/{init}", hidden, init, later, 64, SPARSE, adam(), 0
    # Such weights give losses over 100, and Keras clips probabilities at 1e-7: only from logits does it compute the formula.
    logits = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    yield "init-adam/random", dense((128,), ("relu",), (10, None)), "random", later, 64, logits, adam(), 0
    yield "fashion-8", selus((8, "softmax")), "glorot", eight, 32, SPARSE, sgd(0.01), 0
    yield "sandals-shirts", selus((1, "sigmoid")), "glorot", two, 32, BINARY, sgd(1e-3), 0
    yield "sandals-shirts-transfer", selus((1, "sigmoid")), "glorot", two, 32, BINARY, sgd(1e-3), 28
    yield "fashion-dropout", dense((300, 100), ("elu", "elu"), softmax), "he", later, 32, SPARSE, nadam(), 0
    yield "ffn-mnist", dense((256, 128), ("sigmoid", "sigmoid"), softmax), "glorot", earlier, 128, SPARSE, sgd(0.01), 0
    yield "ffn-cifar", dense((1024, 512), ("relu", "relu"), softmax), "glorot", noise, 32, SPARSE, sgd(0.01), 0


def run(layers, init, data, batch, loss, optimizer, resting):
    """The loss of every step, before its update; the spread of every weight in the order of the layers."""
    x, y = data
    layers = [layer.__class__.from_config(layer.get_config()) for layer in layers]
    model = keras.Sequential([L.Input(x.shape[1:]), *layers])
    spreads = []
    for number, weight in enumerate(model.weights):
        spreads.append(float(spread(init, weight.shape)) if len(weight.shape) > 1 else 0.0)
        weight.assign(uniform(weight.shape, spreads[-1], number))

    def compiled(frozen):
        for layer in model.layers[:-1]:
            layer.trainable = not frozen
        model.compile(loss=loss, optimizer=optimizer.__class__.from_config(optimizer.get_config()))

    compiled(resting > 0)
    rows = (mix(np.arange(STEPS * batch), 100) % np.uint64(len(y))).astype(int).reshape(STEPS, batch)
    losses = []
    for step, picked in enumerate(rows):
        if step == resting and step > 0:
            compiled(False)
        inputs = x[picked].astype(np.float32) / np.float32(255)
        losses.append(float(model.train_on_batch(inputs.astype(keras.config.floatx()), y[picked])))
    return np.array(losses), spreads


def main():
    set_float("float32")
    tensors, list_of = {}, []
    for name, layers, *rest in labs():
        losses, spreads = run(layers, *rest)
        set_float("float64")
        exact, _ = run([layer.__class__.from_config(layer.get_config() | {"dtype": "float64"}) for layer in layers], *rest)
        set_float("float32")
        apart = float(np.max(np.abs(losses / exact - 1)))
        print(f"{name}: {losses[0]:.4f} -> {losses[-1]:.4f}; float32 against float64 {apart:.1e}", flush=True)
        tensors[f"{name}/f32"], tensors[f"{name}/f64"] = losses.astype(np.float32), exact
        list_of.append({"lab": name, "spreads": spreads, "samples": len(rest[1][1]), "apart": apart})
    path = HERE / "labs.safetensors"
    save_file(tensors, path, metadata={"labs": json.dumps(list_of)})
    path.chmod(0o644)


if __name__ == "__main__":
    main()
