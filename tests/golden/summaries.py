"""Prints how Keras shows two models, for cli/tests/cli/summaries/; `keras2` needs TensorFlow with tf-keras.

    python tests/golden/summaries.py keras3 chain | keras3 graph | keras2 chain | keras2 graph
"""

import os
import sys

os.environ["COLUMNS"] = "80"
os.environ["KERAS_BACKEND"] = "jax"

match sys.argv[1:]:
    case ["keras3", shape]:
        import keras
    case ["keras2", shape]:
        import tf_keras as keras
    case _:
        sys.exit(__doc__)
layers = keras.layers


def chain():
    """The recipe fashion-bn."""
    hidden = [layers.BatchNormalization(), layers.Dense(300, "relu"), layers.BatchNormalization(), layers.Dense(100, "relu"), layers.BatchNormalization()]
    model = keras.Sequential([layers.Flatten(), *hidden, layers.Dense(10, "softmax")], name="fashion-bn")
    model.build((None, 28, 28))
    return model


def graph():
    x = keras.Input((6,), name="input")
    first = layers.Dense(6, "tanh", name="first_layer_of_this_model")(x)
    second = layers.Dense(6, name="second", trainable=False)(first)
    y = layers.Concatenate(name="both")([layers.Add(name="sum")([x, second]), first])
    return keras.Model(x, layers.Dense(2, name="out")(y), name="skip")


chain().summary(print_fn=print) if shape == "chain" else graph().summary(print_fn=print)
