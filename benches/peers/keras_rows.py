"""Keras on TensorFlow. Usage: keras_rows.py train mlp|bnmlp|ae THREADS, network CASE THREADS, conv THREADS, epoch THREADS, lab THREADS"""
import os
import sys
import time

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
import keras
import tensorflow as tf
from keras import layers

import common

threads = int(sys.argv[-1])
tf.config.threading.set_intra_op_parallelism_threads(threads)
tf.config.threading.set_inter_op_parallelism_threads(threads)


def network(model):
    dense, norm = layers.Dense, layers.BatchNormalization
    if model == "mlp":
        hidden = [dense(300), layers.LeakyReLU(), dense(100), layers.LeakyReLU(), dense(10, activation="softmax")]
    elif model == "bnmlp":
        hidden = [norm(), dense(300, activation="relu"), norm(), dense(100, activation="relu"), norm()]
        hidden.append(dense(10, activation="softmax"))
    else:
        hidden = [dense(units, activation="relu") for units in common.AUTOENCODER[1:-1]]
        hidden.append(dense(784, activation="sigmoid"))
    net = keras.Sequential([keras.Input((784,)), *hidden])
    if model == "ae":
        net.compile(loss="binary_crossentropy", optimizer=keras.optimizers.Adam(1e-3))
    else:
        sgd = keras.optimizers.SGD(1e-3)
        net.compile(loss="sparse_categorical_crossentropy", optimizer=sgd, metrics=["accuracy"])
    return net


class Clock(keras.callbacks.Callback):
    def __init__(self):
        super().__init__()
        self.seconds = []

    def on_epoch_begin(self, epoch, logs=None):
        self.start = time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):
        self.seconds.append(time.perf_counter() - self.start)


def image_network(case):
    """A network of convolutions, and its images."""
    x, y = common.read_images(case)
    conv, dense, pool = layers.Conv2D, layers.Dense, layers.MaxPooling2D
    if case == "cnn":
        features = [conv(32, 3, activation="relu"), pool(), conv(64, 3, activation="relu"), pool(), layers.Flatten()]
        features += [dense(128, activation="relu"), layers.Dropout(0.5)]
    elif case == "cifar":
        pair = lambda units: [conv(units, 3, padding="same", activation="relu"), conv(units, 3, activation="relu"), pool()]
        features = [*pair(32), *pair(64), layers.Flatten(), dense(512, activation="relu")]
    else:
        base = keras.applications.MobileNetV2(input_shape=x.shape[1:], include_top=False, weights=None)
        base.trainable = case.endswith("full")
        features = [base, layers.GlobalAveragePooling2D()]
    net = keras.Sequential([keras.Input(x.shape[1:]), *features, dense(10, activation="softmax")])
    net.compile(loss="sparse_categorical_crossentropy", optimizer=keras.optimizers.Adam(1e-3))
    return net, x, y


def convolutions(images, weights, bias, padding, groups):
    """What `common.convolutions` wants. The functions give all results, or the graph would leave some out."""
    x, w = tf.constant(images.transpose(0, 2, 3, 1)), tf.constant(weights.transpose(2, 3, 1, 0))
    b, kind = tf.constant(bias), "SAME" if padding else "VALID"
    if groups > 1:
        w = tf.transpose(w, [0, 1, 3, 2])
        op = lambda x, w: tf.nn.depthwise_conv2d(x, w, [1, 1, 1, 1], kind)
    else:
        op = lambda x, w: tf.nn.conv2d(x, w, 1, kind)

    @tf.function
    def forward(x, w, b):
        return op(x, w) + b

    @tf.function
    def both(x, w, b):
        with tf.GradientTape() as tape:
            tape.watch([x, w, b])
            y = op(x, w) + b
        return [y, *tape.gradient(y, [x, w, b])]

    # What was asked for is there when its last number is.
    return lambda: forward(x, w, b).numpy(), lambda: [part.numpy() for part in both(x, w, b)]


def train():
    clock = Clock()
    if sys.argv[1] == "network":
        model = sys.argv[2]
        net, x, targets = image_network(model)
    else:
        model = sys.argv[2] if sys.argv[1] == "train" else "mlp"
        x, y = common.fashion_mnist()
        net, targets = network(model), x if model == "ae" else y
    epochs = 1 if sys.argv[1] == "epoch" else 3
    net.fit(x, targets, batch_size=common.BATCH[model], epochs=epochs, verbose=0, callbacks=[clock])
    if sys.argv[1] != "epoch":
        # The first epoch builds the graph.
        common.emit("B", "keras", model, threads, "samples/s", [len(x) / s for s in clock.seconds[1:]])


def lab():
    """The three trainings of `gradus lab transfer-parity`: ten classes, two, and two on the frozen layers of the first."""

    def fit(net, targets):
        net.compile(loss="sparse_categorical_crossentropy", optimizer=keras.optimizers.SGD(1e-3), metrics=["accuracy"])
        seen = slice(0, common.VALIDATION)
        net.fit(x, targets, epochs=10, batch_size=32, verbose=0, validation_data=(x[seen], targets[seen]))

    def two(body):
        return keras.Sequential([keras.Input((784,)), *body, layers.Dense(2, activation="softmax")])

    x, y = common.fashion_mnist()
    ten = network("mlp")
    fit(ten, y)
    fit(two(network("mlp").layers[:-1]), y % 2)
    for layer in ten.layers[:-1]:
        layer.trainable = False
    fit(two(ten.layers[:-1]), y % 2)


if sys.argv[1] == "lab":
    lab()
elif sys.argv[1] == "conv":
    common.convolutions("tensorflow", threads, convolutions)
else:
    train()
