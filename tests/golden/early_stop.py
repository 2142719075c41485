"""Prints at which epoch Keras' EarlyStopping ends a training, and its best epoch: see nn/src/train/early_stop.rs."""

import keras

LOSSES = [1.0, 0.8, 0.81, 0.79, 0.795, 0.792, 0.791, 0.7, 0.71, 0.72, 0.73]


class Model:
    stop_training = False


def end(**options):
    rule = keras.callbacks.EarlyStopping(**{"monitor": "val_loss", **options})
    rule.set_model(Model())
    rule.on_train_begin()
    for epoch, loss in enumerate(LOSSES, 1):
        rule.on_epoch_end(epoch - 1, {"val_loss": loss, "val_accuracy": -loss})
        if rule.model.stop_training:
            return epoch, rule.best_epoch + 1
    return None, rule.best_epoch + 1


print(keras.__version__)
for options in [
    {},
    {"patience": 1},
    {"patience": 2},
    {"patience": 3},
    {"patience": 4},
    {"patience": 2, "min_delta": 0.05},
    {"patience": 2, "start_from_epoch": 5},
    {"patience": 2, "monitor": "val_accuracy", "mode": "max"},
    {"patience": 2, "monitor": "val_accuracy", "mode": "min"},
]:
    print(options, end(**options))
