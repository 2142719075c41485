"""Keras on TensorFlow. Usage: keras_rows.py train mlp|bnmlp|ae THREADS, epoch THREADS"""
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


model = sys.argv[2] if sys.argv[1] == "train" else "mlp"
x, y = common.fashion_mnist()
clock = Clock()
epochs = 3 if sys.argv[1] == "train" else 1
targets = x if model == "ae" else y
network(model).fit(x, targets, batch_size=common.BATCH[model], epochs=epochs, verbose=0, callbacks=[clock])
if sys.argv[1] == "train":
    # The first epoch builds the graph.
    common.emit("B", "keras", model, threads, "samples/s", [len(x) / s for s in clock.seconds[1:]])
