"""Small models as other programs save them, with what those programs make of some inputs; see README.md.

    python tests/golden/interop.py keras | keras2 | torch      writes tests/golden/interop/*
    python tests/golden/interop.py check FOLDER                reads what gradus wrote there, and says how far its results are off

`keras2` needs TensorFlow with the package tf-keras; the others the versions in requirements.txt.
"""

import pathlib
import sys

import numpy as np

FOLDER = pathlib.Path(__file__).parent / "interop"
ROWS = np.random.default_rng(7).normal(size=(4, 6)).astype("float32")
PICTURES = np.random.default_rng(9).normal(size=(2, 12, 10, 2)).astype("float32")
IMAGES = np.random.default_rng(8).normal(size=(3, 5, 4, 2)).astype("float32")


def randomise(model):
    """Weights that differ in every place, so that an order mistaken shows."""
    random = np.random.default_rng(1)
    model.set_weights([np.abs(random.normal(size=w.shape)) + 0.1 if "variance" in n else random.normal(size=w.shape) / 2
                       for w, n in zip(model.get_weights(), [w.name for w in model.weights])])


def chain(keras):
    layers = keras.layers
    model = keras.Sequential([
        layers.InputLayer(shape=(6,)) if keras.__version__[0] == "3" else layers.InputLayer((6,)),
        layers.Dense(5, activation="elu", kernel_initializer="he_normal", kernel_regularizer=keras.regularizers.l2(0.01), name="first"),
        layers.BatchNormalization(momentum=0.9, epsilon=1e-4),
        layers.LeakyReLU(0.2),
        layers.Dropout(0.25),
        layers.Dense(4, activation="selu", use_bias=False, kernel_constraint=keras.constraints.MaxNorm(1.5), trainable=False),
        layers.BatchNormalization(scale=False),
        layers.Dense(3, activation="softmax", name="last"),
    ], name="chain")
    model.compile(keras.optimizers.Nadam(2e-3, beta_2=0.99), "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def skip(keras):
    """Two inputs of the last layer, one of them the model's own; layers called against the order of their names."""
    layers = keras.layers
    x = keras.Input((6,), name="signal")
    b = layers.Dense(6, activation="tanh", name="b")(x)
    a = layers.Dense(6, name="a")(b)
    y = layers.Concatenate(name="both")([layers.Add(name="sum")([x, a]), b])
    model = keras.Model(x, layers.Dense(2, name="out")(layers.ReLU(name="bend")(y)), name="skip")
    model.compile("sgd", "mse")
    return model


def image(keras):
    """Every layer for images whose weights or sizes could be mistaken."""
    layers = keras.layers
    model = keras.Sequential([
        layers.InputLayer(shape=(12, 10, 2)) if keras.__version__[0] == "3" else layers.InputLayer((12, 10, 2)),
        layers.Conv2D(6, (3, 2), strides=2, padding="same", activation="relu"),
        layers.BatchNormalization(),
        layers.DepthwiseConv2D(3, depth_multiplier=2, padding="same", use_bias=False),
        layers.MaxPooling2D((2, 1)),
        layers.SeparableConv2D(5, 2, activation="tanh"),
        layers.AveragePooling2D(2, strides=1, padding="same"),
        layers.Conv2DTranspose(3, 2, strides=2),
        layers.ZeroPadding2D(((1, 0), (0, 2))),
        layers.UpSampling2D((2, 1)),
        layers.LayerNormalization() if keras.__version__[0] == "3" else layers.BatchNormalization(),
        layers.Conv2D(4, 2, groups=1, dilation_rate=2),
        layers.GlobalAveragePooling2D(),
        layers.Dense(3, activation="softmax"),
    ], name="image")
    model.compile("adam", keras.losses.CategoricalCrossentropy(label_smoothing=0.1))
    return model


def nested(keras):
    """Models in a model, one of them frozen, one with two inputs, one in the second depth; two layers of one name."""
    layers = keras.layers
    deep = keras.Sequential([keras.Input((5,)), layers.Dense(5, activation="tanh", name="depth"), layers.BatchNormalization(name="norm")], name="deep")
    body = keras.Sequential([keras.Input((6,)), layers.Dense(5, activation="relu", name="first"), layers.BatchNormalization(name="bn"), deep],
                            name="body")
    body.trainable = False
    p, q = keras.Input((5,)), keras.Input((5,))
    join = keras.Model([p, q], layers.Dense(4, name="wide")(layers.Concatenate(name="both")([q, layers.BatchNormalization(name="only")(p)])),
                       name="join")
    x = keras.Input((6,), name="signal")
    y = join([body(x), layers.Dense(5, name="first")(x)])
    model = keras.Model(x, layers.Dense(2, activation="softmax", name="out")(y), name="nested")
    model.compile("sgd", "sparse_categorical_crossentropy")
    return model


def save(prefix, keras, saved):
    for build in [chain, skip, image, nested]:
        keras.utils.set_random_seed(1)
        model = build(keras)
        randomise(model)
        for ending in saved if build is chain else [e for e in saved if "weights" not in e]:
            path = FOLDER / f"{prefix}-{model.name}{ending}"
            if ending == ".weights.h5":
                model.save_weights(path)
            else:
                model.save(path, **({} if ending == ".keras" else {"include_optimizer": False}))
            if ending == ".h5":  # The loss and optimizer without the optimizer's numbers.
                restore_training(path, model)
        np.save(FOLDER / f"{prefix}-{model.name}.npy", np.asarray(model(PICTURES if build is image else ROWS)))
    if prefix == "keras":
        np.savez(FOLDER / "keras-chain.npz", *chain_weights(keras))


def chain_weights(keras):
    model = chain(keras)
    randomise(model)
    return model.get_weights()


def restore_training(path, model):
    import h5py
    import json
    import keras

    optimizer = {"class_name": type(model.optimizer).__name__, "config": json.loads(json.dumps(model.optimizer.get_config(), default=float))}
    loss = model.loss if isinstance(model.loss, str) else {"class_name": type(model.loss).__name__, "config": model.loss.get_config()}
    with h5py.File(path, "a") as file:
        file.attrs["training_config"] = json.dumps({"loss": loss, "optimizer_config": optimizer}).encode()


def torch_files():
    import safetensors.torch
    import torch
    from torch import nn

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm = nn.BatchNorm1d(40)
            self.fc1 = nn.Linear(40, 7)
            self.fc2 = nn.Linear(7, 7)
            self.fc3 = nn.Linear(7, 3, bias=False)

        def forward(self, x):
            x = self.norm(torch.flatten(x.permute(0, 3, 1, 2), 1))
            return self.fc3(torch.tanh(self.fc2(torch.relu(self.fc1(x))))).softmax(-1)

    torch.manual_seed(1)
    net = Net()
    for name, value in net.state_dict().items():
        if value.dtype == torch.float32:
            value.copy_(torch.rand_like(value) + (0.1 if "var" in name else -0.5))
    net.eval()
    with torch.no_grad():
        np.save(FOLDER / "torch.npy", net(torch.from_numpy(IMAGES)).numpy())
    state = net.state_dict()
    # A view that is not contiguous, as a transposed weight is saved.
    state["fc2.weight"] = state["fc2.weight"].t().contiguous().t()
    torch.save(state, FOLDER / "torch.pt")
    torch.save({"epoch": 3, "model_state_dict": dict(net.state_dict()), "loss": 0.5}, FOLDER / "torch-checkpoint.pt")
    safetensors.torch.save_file(net.state_dict(), FOLDER / "torch.safetensors")
    torch.save(nn.Sequential(nn.Linear(2, 2)), FOLDER / "torch-whole.pt")
    torch.save(net.state_dict(), FOLDER / "torch-old.pt", _use_new_zipfile_serialization=False)


def check(folder):
    """What gradus wrote: a model or weights beside `inputs.npy` and gradus' own `outputs.npy`."""
    folder = pathlib.Path(folder)
    inputs, outputs = np.load(folder / "inputs.npy"), np.load(folder / "outputs.npy")
    for path in sorted(folder.iterdir()):
        if path.suffix in (".keras", ".h5") and not path.name.endswith(".weights.h5"):
            model = keras_module().models.load_model(path)
            weights = path.with_suffix("").with_suffix(".weights.h5")
            trained = type(model.optimizer).__name__ if model.optimizer else "not compiled"
            print(path.name, off(model(inputs), outputs), trained, model.loss)
            if weights.exists() and path.suffix == ".keras":
                model.set_weights([w * 0 for w in model.get_weights()])
                model.load_weights(weights)
                print(weights.name, off(model(inputs), outputs))


def off(theirs, ours):
    return float(np.abs(np.asarray(theirs) - ours).max())


def keras_module():
    sys.path.insert(0, str(FOLDER.parent))
    from keras_on_jax import keras

    return keras


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    match sys.argv[1:]:
        case ["keras"]:
            save("keras", keras_module(), [".keras", ".h5", ".weights.h5"])
            np.save(FOLDER / "rows.npy", ROWS)
            np.save(FOLDER / "pictures.npy", PICTURES)
        case ["keras2"]:
            import tf_keras

            save("keras2", tf_keras, [".h5"])
        case ["torch"]:
            torch_files()
            np.save(FOLDER / "images.npy", IMAGES)
        case ["check", folder]:
            check(folder)
        case _:
            sys.exit(__doc__)
