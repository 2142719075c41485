"""Models that Keras trained for some steps, saved with what their optimizers remember, and the losses of the steps after; see README.md.

    python tests/golden/memory.py keras | keras2     writes tests/golden/interop/memory-*.zip
    python tests/golden/memory.py check FOLDER       lets Keras go on from what gradus wrote there, and prints its losses
"""

import io
import json
import pathlib
import sys
import tempfile
import warnings
import zipfile

import numpy as np

FOLDER = pathlib.Path(__file__).parent / "interop"
BEFORE, AFTER, BATCH = 6, 12, 8
random = np.random.default_rng(11)
X = random.normal(size=(BEFORE + AFTER, BATCH, 5)).astype("float32")
Y = np.argmax(X @ random.normal(size=(5, 3)), axis=-1).astype("int64")


def build(keras, optimizer, rules=None, width=4):
    keras.utils.set_random_seed(3)
    L = keras.layers
    first = L.InputLayer(shape=(5,)) if keras.__version__[0] == "3" else L.InputLayer((5,))
    model = keras.Sequential([first, L.Dense(width, activation="tanh", name="z", **(rules or {})), L.BatchNormalization(name="y"),
                              L.Dense(4, trainable=False, name="still"), L.Dense(3, activation="softmax", name="a")], name="net")
    model.compile(optimizer=optimizer, loss="sparse_categorical_crossentropy")
    return model


def branches(keras, optimizer):
    """Layers in another order than that of their names and of their use."""
    keras.utils.set_random_seed(3)
    L = keras.layers
    x = keras.Input((5,), name="x")
    right = L.Dense(4, activation="tanh", name="right")(x)
    left = L.Dense(4, name="deep")(L.Dense(4, activation="tanh", name="left")(x))
    y = L.Dense(3, activation="softmax", name="out")(L.Add(name="sum")([right, left]))
    model = keras.Model(x, y, name="branches")
    model.compile(optimizer=optimizer, loss="sparse_categorical_crossentropy")
    return model


def train(model, steps):
    # With metrics there is a list of numbers.
    return [float(np.ravel(model.train_on_batch(X[i], Y[i]))[0]) for i in steps]


def write(out, list_of, name, model, ending):
    losses = train(model, range(BEFORE))
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / f"m{ending}"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model.save(path)
        put(out, name + ending, path.read_bytes())
    losses = train(model, range(BEFORE, BEFORE + AFTER))
    print(f"{name}{ending}: {losses[0]:.5f} -> {losses[-1]:.5f}")
    list_of.append({"file": name + ending, "losses": losses})


def put(out, name, content):
    # A fixed date, so that the same content gives the same bytes.
    out.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), content, zipfile.ZIP_DEFLATED, 9)


def batches(out):
    for name, array in [("x.npy", X), ("y.npy", Y)]:
        content = io.BytesIO()
        np.save(content, array)
        put(out, name, content.getvalue())


def keras_files(keras):
    o, s = keras.optimizers, keras.optimizers.schedules
    cases = {
        "sgd": lambda: o.SGD(0.1),
        "momentum": lambda: o.SGD(0.05, momentum=0.9),
        "nesterov": lambda: o.SGD(0.05, momentum=0.9, nesterov=True),
        "adagrad": lambda: o.Adagrad(0.1),
        "rmsprop": lambda: o.RMSprop(0.01, centered=True, momentum=0.5),
        "adam": lambda: o.Adam(0.02),
        "amsgrad": lambda: o.Adam(0.02, amsgrad=True, beta_1=0.5),
        "adamw": lambda: o.AdamW(0.02, weight_decay=0.1),
        "adamax": lambda: o.Adamax(0.02),
        "nadam": lambda: o.Nadam(0.02),
        "adadelta": lambda: o.Adadelta(1.0),
        "lion": lambda: o.Lion(0.003),
        "schedule": lambda: o.Adam(s.ExponentialDecay(0.05, 4, 0.5), clipnorm=0.1),
        "cosine": lambda: o.SGD(s.CosineDecay(0.2, 15, 0.1), momentum=0.5, global_clipnorm=0.5),
        # Six steps are one and a half updates, so gradients wait.
        "gathered": lambda: o.Adam(0.02, gradient_accumulation_steps=4),
        "average": lambda: o.SGD(0.2, use_ema=True, ema_momentum=0.5, ema_overwrite_frequency=5),
    }
    with zipfile.ZipFile(FOLDER / "memory-keras.zip", "w") as out:
        batches(out)
        list_of = []
        for name, make in cases.items():
            write(out, list_of, name, build(keras, make()), ".keras")
        write(out, list_of, "branches", branches(keras, o.Adam(0.02)), ".keras")
        write(out, list_of, "adam", build(keras, o.Adam(0.02, amsgrad=True), {"kernel_regularizer": "l2", "kernel_constraint": "max_norm"}), ".h5")
        put(out, "list.json", json.dumps(list_of).encode())


def keras2_files(keras):
    new, old = keras.optimizers, keras.optimizers.legacy
    cases = {
        "sgd": lambda: new.SGD(0.1),
        "adagrad": lambda: new.Adagrad(0.1),
        "rmsprop": lambda: new.RMSprop(0.01, centered=True, momentum=0.5),
        "adam": lambda: new.Adam(0.02),
        # Not new.Nadam: it multiplies its momenta once for each weight instead of once for each step, and does not save the product.
        "old-sgd": lambda: old.SGD(0.05, momentum=0.9, nesterov=True, decay=0.1),
        "old-adagrad": lambda: old.Adagrad(0.1, epsilon=0.1),
        "old-rmsprop": lambda: old.RMSprop(0.01, epsilon=1e-3),
        "old-rmsprop-momentum": lambda: old.RMSprop(0.01, centered=True, momentum=0.5, epsilon=1e-3),
        "old-adam": lambda: old.Adam(0.02, amsgrad=True),
        "old-adamax": lambda: old.Adamax(0.02),
        "old-nadam": lambda: old.Nadam(0.02),
        "old-adadelta": lambda: old.Adadelta(1.0),
    }
    with zipfile.ZipFile(FOLDER / "memory-keras2.zip", "w") as out:
        batches(out)
        list_of = []
        for name, make in cases.items():
            write(out, list_of, name, build(keras, make()), ".h5")
        write(out, list_of, "adam", build(keras, new.Adam(0.02)), ".keras")
        put(out, "list.json", json.dumps(list_of).encode())


def check(folder, keras):
    """For each model that gradus trained for BEFORE steps: Keras' losses of the steps after."""
    for path in sorted(pathlib.Path(folder).glob("*.keras")):
        model = keras.models.load_model(path)
        print(json.dumps({"file": path.name, "steps": int(model.optimizer._iterations), "losses": train(model, range(BEFORE, BEFORE + AFTER))}))


def keras_module():
    sys.path.insert(0, str(FOLDER.parent))
    from keras_on_jax import keras

    return keras


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["keras"]:
            keras_files(keras_module())
        case ["keras2"]:
            import tf_keras

            keras2_files(tf_keras)
        case ["check", folder]:
            check(folder, keras_module())
        case _:
            sys.exit(__doc__)
