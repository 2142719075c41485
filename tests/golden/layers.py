"""Writes layers.safetensors: layers for images by Keras (on JAX) and PyTorch, with gradients, in float64. See README.md."""

import numpy as np
import torch

from book import Book
from keras_on_jax import jax, keras, set_float

random = np.random.default_rng(42)
book = Book()
set_float("float64")
L = keras.layers


def by_keras(case, text, layer, shape):
    """`text` is what a recipe says; parameters have our names, in the order of Keras' weights."""
    x = random.standard_normal(shape)
    layer.build(x.shape)
    names = [variable.name for variable in layer.trainable_variables]
    values = [random.standard_normal(variable.shape) for variable in layer.trainable_variables]

    def run(x, *values):
        return layer.stateless_call(list(values), [v.value for v in layer.non_trainable_variables], x)[0]

    y, pull = jax.vjp(run, x, *values)
    dy = random.standard_normal(y.shape)
    dx, *dvalues = pull(jax.numpy.asarray(dy))
    if y.dtype != np.float64:
        raise TypeError(f"{case} was not computed in float64")
    tensors = {"x": x, "y": y, "dy": dy, "dx": dx}
    for name, value, dvalue in zip(names, values, dvalues):
        tensors |= {f"w.{name}": value, f"d.{name}": dvalue}
    book.add(f"keras/{case}", "layer", {"preset": "keras", "recipe": text, "params": names}, tensors)


def by_torch(case, text, layer, shape, names):
    """PyTorch has channels second, and its kernels as [out, in, height, width]: everything is stored as ours."""
    layer = layer.double()
    x = torch.tensor(random.standard_normal(shape), requires_grad=True)
    params = list(layer.parameters())
    with torch.no_grad():
        for p in params:
            p.copy_(torch.tensor(random.standard_normal(p.shape)))
    y = layer(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
    dy = torch.tensor(random.standard_normal(y.shape))
    gradients = torch.autograd.grad(y, [x, *params], dy)
    ours = lambda t: (t.permute(2, 3, 1, 0) if t.ndim == 4 else t).detach().numpy()
    tensors = {"x": x.detach().numpy(), "y": y.detach().numpy(), "dy": dy.numpy(), "dx": gradients[0].numpy()}
    for name, p, d in zip(names, params, gradients[1:]):
        tensors |= {f"w.{name}": ours(p), f"d.{name}": ours(d)}
    book.add(f"torch/{case}", "layer", {"preset": "torch", "recipe": text, "params": names}, tensors)


IMAGE = (2, 7, 6, 4)
for padding in ("valid", "same"):
    more = f'padding = "{padding}"\n'
    by_keras(f"conv2d/{padding}", f'type = "conv2d"\nfilters = 3\nkernel_size = [3, 2]\nstrides = 2\n{more}activation = "relu"',
             L.Conv2D(3, (3, 2), strides=2, padding=padding, activation="relu"), IMAGE)
    by_keras(f"depthwise/{padding}", f'type = "depthwise_conv2d"\nkernel_size = 3\ndepth_multiplier = 2\nstrides = 2\n{more}',
             L.DepthwiseConv2D(3, strides=2, padding=padding, depth_multiplier=2), IMAGE)
    by_keras(f"separable/{padding}", f'type = "separable_conv2d"\nfilters = 5\nkernel_size = 3\ndepth_multiplier = 2\n{more}',
             L.SeparableConv2D(5, 3, padding=padding, depth_multiplier=2), IMAGE)
    by_keras(f"transpose/{padding}", f'type = "conv2d_transpose"\nfilters = 3\nkernel_size = [3, 2]\nstrides = [2, 3]\n{more}',
             L.Conv2DTranspose(3, (3, 2), strides=(2, 3), padding=padding), IMAGE)
    by_keras(f"max_pool/{padding}", f'type = "max_pool2d"\npool_size = 3\nstrides = 2\n{more}',
             L.MaxPooling2D(3, strides=2, padding=padding), IMAGE)
    by_keras(f"avg_pool/{padding}", f'type = "avg_pool2d"\npool_size = 3\nstrides = 2\n{more}',
             L.AveragePooling2D(3, strides=2, padding=padding), IMAGE)
    by_keras(f"conv1d/{padding}", f'type = "conv1d"\nfilters = 3\nkernel_size = 3\nstrides = 2\n{more}',
             L.Conv1D(3, 3, strides=2, padding=padding), (2, 8, 4))
by_keras("conv2d/dilation", 'type = "conv2d"\nfilters = 3\nkernel_size = 2\ndilation_rate = [2, 3]\nuse_bias = false',
         L.Conv2D(3, 2, dilation_rate=(2, 3), use_bias=False), IMAGE)
by_keras("conv2d/groups", 'type = "conv2d"\nfilters = 6\nkernel_size = 3\ngroups = 2', L.Conv2D(6, 3, groups=2), IMAGE)
by_keras("global_avg", 'type = "global_avg_pool2d"', L.GlobalAveragePooling2D(), IMAGE)
by_keras("global_max", 'type = "global_max_pool2d"\nkeepdims = true', L.GlobalMaxPooling2D(keepdims=True), IMAGE)
by_keras("upsampling/nearest", 'type = "up_sampling2d"\nsize = [2, 3]', L.UpSampling2D((2, 3)), IMAGE)
by_keras("upsampling/bilinear", 'type = "up_sampling2d"\nsize = [2, 3]\ninterpolation = "bilinear"',
         L.UpSampling2D((2, 3), interpolation="bilinear"), IMAGE)
by_keras("zero_padding", 'type = "zero_padding2d"\npadding = [1, 2, 0, 3]', L.ZeroPadding2D(((1, 2), (0, 3))), IMAGE)
by_keras("rescaling", 'type = "rescaling"\nscale = 0.5\noffset = -1', L.Rescaling(0.5, -1.0), IMAGE)
by_keras("layer_norm", 'type = "layer_norm"', L.LayerNormalization(), IMAGE)
by_keras("group_norm", 'type = "group_norm"\ngroups = 2', L.GroupNormalization(2), IMAGE)
by_keras("instance_norm", 'type = "instance_norm"', L.GroupNormalization(-1), IMAGE)
by_keras("rms_norm", 'type = "rms_norm"', L.RMSNormalization(), IMAGE)

N = torch.nn
WEIGHTS, LEARNED = ["kernel", "bias"], ["gamma", "beta"]
by_torch("conv2d/padding", 'type = "conv2d"\nout_channels = 6\nkernel_size = 3\nstride = 2\npadding = [1, 2]\ngroups = 2',
         N.Conv2d(4, 6, 3, 2, (1, 2), groups=2), IMAGE, WEIGHTS)
by_torch("transpose/padding", 'type = "conv2d_transpose"\nout_channels = 3\nkernel_size = 3\nstride = 2\npadding = 1\ndilation = 2',
         N.ConvTranspose2d(4, 3, 3, 2, 1, dilation=2), IMAGE, WEIGHTS)
by_torch("max_pool/padding", 'type = "max_pool2d"\nkernel_size = 3\nstride = 2\npadding = 1', N.MaxPool2d(3, 2, 1), IMAGE, [])
by_torch("avg_pool/padding", 'type = "avg_pool2d"\nkernel_size = 3\nstride = 2\npadding = 1', N.AvgPool2d(3, 2, 1), IMAGE, [])
by_torch("avg_pool/bare", 'type = "avg_pool2d"\nkernel_size = 3\npadding = 1\ncount_include_pad = false',
         N.AvgPool2d(3, padding=1, count_include_pad=False), IMAGE, [])
by_torch("adaptive_avg", 'type = "adaptive_avg_pool2d"\noutput_size = [3, 4]', N.AdaptiveAvgPool2d((3, 4)), IMAGE, [])
by_torch("adaptive_max", 'type = "adaptive_max_pool2d"\noutput_size = [3, 4]', N.AdaptiveMaxPool2d((3, 4)), IMAGE, [])
by_torch("group_norm", 'type = "group_norm"\nnum_groups = 2', N.GroupNorm(2, 4), IMAGE, LEARNED)
by_torch("instance_norm", 'type = "instance_norm"', N.InstanceNorm2d(4), IMAGE, [])
book.save("layers")
