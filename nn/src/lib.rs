//! Layers, losses, optimizers, data and the training loop.
