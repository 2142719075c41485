"""Writes ops.safetensors: what PyTorch (CPU, float64) makes of each op, with gradients. See README.md."""

import math

import torch
import torch.nn.functional as F

from book import Book

torch.manual_seed(42)
book = Book()
INF, NAN = math.inf, math.nan


def f64(values):
    return torch.tensor(values, dtype=torch.float64)


def normal(*shape):
    return torch.randn(shape, dtype=torch.float64)


def positive(*shape):
    return 0.2 + 2.0 * torch.rand(shape, dtype=torch.float64)


def fraction(*shape, low=-0.95, high=0.95):
    return low + (high - low) * torch.rand(shape, dtype=torch.float64)


def case(name, op, function, *inputs, grad=True, **attributes):
    """Stores inputs, output and, for a random `dy`, the gradient of every floating input. `function` may return
    (values, indices)."""
    leaves = [x.clone().requires_grad_(grad and x.is_floating_point()) for x in inputs]
    y = function(*leaves)
    tensors = {f"x{i}": x.numpy() for i, x in enumerate(inputs)}
    if isinstance(y, tuple):
        y, indices = y
        tensors["indices"] = indices.numpy()
    tensors["y"] = y.detach().numpy()
    if grad:
        dy = normal(*y.shape)
        tensors["dy"] = dy.numpy()
        wanted = [i for i, x in enumerate(leaves) if x.requires_grad]
        for i, dx in zip(wanted, torch.autograd.grad(y, [leaves[i] for i in wanted], dy)):
            tensors[f"dx{i}"] = dx.numpy()
    book.add(name, op, attributes, tensors)


def unary(op, function, x, large=None, kink=None, special=(-INF, INF, NAN), **attributes):
    """Four cases: ordinary numbers, `large` ones, the `kink`s where the gradient is a convention, and `special` ones
    (forward only)."""
    case(op, op, function, x, **attributes)
    if large:
        case(f"{op}/large", op, function, f64(large), **attributes)
    if kink:
        case(f"{op}/kink", op, function, f64(kink), **attributes)
    if special:
        case(f"{op}/special", op, function, f64(special), grad=False, **attributes)


def softplus(x):
    return F.softplus(x, threshold=50.0)  # at its default of 20, PyTorch is off by 1e-10


def unaries():
    wide = [-1e3, -80.0, -20.0, -1e-3, 1e-3, 20.0, 80.0, 1e3]
    tiny = [-30.0, -1e-3, -1e-9, 1e-9, 1e-3, 30.0]
    unary("neg", torch.neg, normal(3, 5), wide)
    unary("abs", torch.abs, normal(3, 5), wide, kink=[0.0])
    unary("sign", torch.sign, normal(3, 5), kink=[0.0], special=None)
    unary("square", torch.square, normal(3, 5), wide)
    unary("sqrt", torch.sqrt, positive(3, 5), [1e-300, 1e-9, 1e9, 1e300], special=(-1.0, 0.0, INF, NAN))
    unary("rsqrt", torch.rsqrt, positive(3, 5), [1e-9, 1e9], special=(-1.0, 0.0, INF, NAN))
    unary("recip", torch.reciprocal, positive(3, 5), wide, special=(-INF, 0.0, INF, NAN))
    unary("exp", torch.exp, normal(3, 5), [-700.0, *tiny, 700.0])
    unary("expm1", torch.expm1, normal(3, 5), tiny)
    unary("log", torch.log, positive(3, 5), [1e-300, 1e-9, 1e9, 1e300], special=(-1.0, 0.0, INF, NAN))
    unary("log2", torch.log2, positive(3, 5), [1e-9, 1e9], special=(-1.0, 0.0, INF, NAN))
    unary("log10", torch.log10, positive(3, 5), [1e-9, 1e9], special=(-1.0, 0.0, INF, NAN))
    unary("log1p", torch.log1p, positive(3, 5), [-0.999, -1e-9, 1e-9, 1e9], special=(-2.0, -1.0, INF, NAN))
    for op in ["sin", "cos", "tan", "atan", "sinh", "cosh", "tanh", "asinh"]:
        unary(op, getattr(torch, op), normal(3, 5), tiny, special=(NAN,) if op in ("sin", "cos", "tan") else (-INF, INF, NAN))
    unary("asin", torch.asin, fraction(3, 5), [-1e-9, 1e-9], special=(-1.5, -1.0, 1.0, NAN))
    unary("acos", torch.acos, fraction(3, 5), [-1e-9, 1e-9], special=(-1.5, -1.0, 1.0, NAN))
    unary("acosh", torch.acosh, 1.0 + positive(3, 5), [1.001, 1e9], special=(0.5, 1.0, INF, NAN))
    unary("atanh", torch.atanh, fraction(3, 5), [-1e-9, 1e-9], special=(-1.5, -1.0, 1.0, NAN))
    unary("erf", torch.erf, normal(3, 5), tiny)
    unary("floor", torch.floor, 3 * normal(3, 5), [-1e15, 1e15], kink=[-1.0, 0.0, 2.0])
    unary("ceil", torch.ceil, 3 * normal(3, 5), [-1e15, 1e15], kink=[-1.0, 0.0, 2.0])
    unary("round", torch.round, 3 * normal(3, 5), [-1e15, 1e15], kink=[-2.5, -1.5, -0.5, 0.5, 1.5, 2.5])
    unary("trunc", torch.trunc, 3 * normal(3, 5), [-1e15, 1e15], kink=[-1.0, 0.0, 2.0])
    unary("relu", F.relu, normal(3, 5), wide, kink=[0.0])
    unary("relu6", F.relu6, 4 * normal(3, 5), wide, kink=[0.0, 6.0])
    unary("leaky_relu", lambda x: F.leaky_relu(x, 0.2), normal(3, 5), wide, kink=[0.0], slope=0.2)
    unary("elu", F.elu, normal(3, 5), wide, kink=[0.0], alpha=1.0)
    unary("selu", F.selu, normal(3, 5), wide, kink=[0.0])
    unary("celu", lambda x: F.celu(x, 1.5), normal(3, 5), wide, kink=[0.0], alpha=1.5)
    unary("softplus", softplus, normal(3, 5), wide)
    unary("softsign", F.softsign, normal(3, 5), wide, kink=[0.0], special=(NAN,))
    unary("sigmoid", torch.sigmoid, normal(3, 5), wide)
    unary("log_sigmoid", F.logsigmoid, normal(3, 5), wide)
    unary("hard_sigmoid", F.hardsigmoid, 3 * normal(3, 5), wide, kink=[-3.0, 3.0])
    unary("hard_tanh", F.hardtanh, normal(3, 5), wide, kink=[-1.0, 1.0])
    unary("hard_swish", F.hardswish, 3 * normal(3, 5), wide, kink=[-3.0, 3.0], special=(NAN,))
    unary("silu", F.silu, normal(3, 5), wide, special=(NAN,))
    unary("gelu", F.gelu, normal(3, 5), tiny, special=(NAN,))
    unary("gelu_tanh", lambda x: F.gelu(x, approximate="tanh"), normal(3, 5), tiny, special=(NAN,))
    unary("mish", F.mish, normal(3, 5), [-80.0, *tiny, 80.0], special=(NAN,))
    unary("clamp", lambda x: x.clamp(-0.5, 0.75), normal(3, 5), wide, kink=[-0.5, 0.75], low=-0.5, high=0.75)
    unary("powf", lambda x: x**2.5, positive(3, 5), [1e-9, 1e9], special=(-1.0, 0.0, INF, NAN), exponent=2.5)


SHAPES = {"": ((3, 5), (3, 5)), "/row": ((3, 5), (5,)), "/outer": ((3, 1), (1, 5)), "/scalar": ((), (2, 3)), "/empty": ((0, 5), (5,))}


def binaries():
    draws = {"div": (normal, positive), "pow": (positive, normal), "remainder": (lambda *s: 5 * normal(*s), positive)}
    functions = {
        "add": torch.add, "sub": torch.sub, "mul": torch.mul, "div": torch.div, "pow": torch.pow,
        "maximum": torch.maximum, "minimum": torch.minimum, "atan2": torch.atan2, "remainder": torch.remainder,
    }
    for op, function in functions.items():
        left, right = draws.get(op, (normal, normal))
        for suffix, (a, b) in SHAPES.items():
            case(op + suffix, op, function, left(*a), right(*b))
    ties = f64([1.0, -2.0, 0.0]), f64([1.0, -2.0, 0.0])
    case("maximum/kink", "maximum", torch.maximum, *ties)
    case("minimum/kink", "minimum", torch.minimum, *ties)
    nans = f64([NAN, 1.0, INF, -INF]), f64([1.0, NAN, -INF, -INF])
    case("maximum/special", "maximum", torch.maximum, *nans, grad=False)
    case("minimum/special", "minimum", torch.minimum, *nans, grad=False)
    signs = f64([5.5, -5.5, 5.5, -5.5, 6.0, -6.0]), f64([3.0, 3.0, -3.0, -3.0, 3.0, 3.0])
    case("remainder/signs", "remainder", torch.remainder, *signs, grad=False)
    corners = f64([0.0, 0.0, 1.0, -1.0, 1.0, -1.0]), f64([1.0, -1.0, 0.0, 0.0, -1.0, -1.0])
    case("atan2/corners", "atan2", torch.atan2, *corners, grad=False)
    case("pow/corners", "pow", torch.pow, f64([0.0, 0.0, -2.0, -2.0, -2.0, 2.0]), f64([0.0, 2.0, 3.0, 2.0, 0.5, -1.0]), grad=False)
    numbers = f64([[1.0, 2.0, NAN], [0.0, -1.0, INF]]), f64([[1.0, 3.0, NAN], [-0.0, -2.0, INF]])
    for op in ["eq", "ne", "lt", "le", "gt", "ge"]:
        case(op, op, getattr(torch, op), *numbers, grad=False)
        case(f"{op}/row", op, getattr(torch, op), normal(3, 4).round(), normal(4).round(), grad=False)


def reductions():
    def multi(function):
        """The reduction over any list of axes, by one axis after another from the last."""
        def run(x, axes, keepdim):
            for axis in sorted(axes, reverse=True):
                x = function(x, axis, keepdim=keepdim)
            return x
        return run

    functions = {
        "sum": lambda x, axes, keepdim: x.sum(axes, keepdim=keepdim),
        "mean": lambda x, axes, keepdim: x.mean(axes, keepdim=keepdim),
        "prod": multi(torch.prod),
        "max": lambda x, axes, keepdim: x.amax(axes, keepdim=keepdim),
        "min": lambda x, axes, keepdim: x.amin(axes, keepdim=keepdim),
        "logsumexp": lambda x, axes, keepdim: x.logsumexp(axes, keepdim=keepdim),
        "norm": lambda x, axes, keepdim: torch.linalg.vector_norm(x, 2, axes, keepdim=keepdim),
    }
    functions |= {
        f"{op}/{correction}": lambda x, axes, keepdim, f=getattr(torch, op), c=correction: f(x, axes, correction=c, keepdim=keepdim)
        for op in ("var", "std") for correction in (0, 1)
    }
    for name, function in functions.items():
        op, _, correction = name.partition("/")
        more = {"correction": int(correction)} if correction else {}
        for axis in [None, 0, 1, -1, [0, 2], [0, 1, 2]]:
            for keepdim in (False, True):
                axes = list(range(3)) if axis is None else [a % 3 for a in ([axis] if isinstance(axis, int) else axis)]
                label = "all" if axis is None else "".join(str(a) for a in axes) + ("n" if axis == -1 else "")
                label += "/keep" if keepdim else ""
                run = lambda x: function(x, axes, keepdim)
                case(f"{name}/{label}", op, run, normal(2, 3, 4), axis=axis, keepdim=keepdim, **more)
    case("sum/empty", "sum", lambda x: x.sum(0), normal(0, 3), axis=0, keepdim=False)
    case("prod/empty", "prod", lambda x: x.prod(0), normal(0, 3), axis=0, keepdim=False)
    case("prod/one_zero", "prod", lambda x: x.prod(1), f64([[2.0, 0.0, 3.0], [1.0, 2.0, 4.0]]), axis=1, keepdim=False)
    case("prod/two_zeros", "prod", lambda x: x.prod(1), f64([[0.0, 0.0, 3.0], [0.0, 2.0, 0.0]]), axis=1, keepdim=False)
    case("max/kink", "max", lambda x: x.amax(1), f64([[1.0, 3.0, 3.0], [2.0, 2.0, 2.0]]), axis=1, keepdim=False)
    case("min/kink", "min", lambda x: x.amin(1), f64([[3.0, 1.0, 1.0], [2.0, 2.0, 2.0]]), axis=1, keepdim=False)
    case("max/special", "max", lambda x: x.amax(1), f64([[1.0, NAN, 3.0], [-INF, -INF, -INF]]), grad=False, axis=1, keepdim=False)
    case("logsumexp/large", "logsumexp", lambda x: x.logsumexp(1), f64([[1e3, 1e3], [-1e3, -1e3], [0.0, -1e3]]), axis=1, keepdim=False)
    case("logsumexp/special", "logsumexp", lambda x: x.logsumexp(1), f64([[-INF, -INF], [INF, 0.0], [-INF, 0.0]]), grad=False, axis=1, keepdim=False)
    case("var/large", "var", lambda x: x.var(1, correction=0), 1e6 + normal(2, 5), axis=1, keepdim=False, correction=0)
    for op in ("argmax", "argmin"):
        for axis in (0, 1, -1):
            for keepdim in (False, True):
                name = f"{op}/{axis % 3}{'n' if axis < 0 else ''}{'/keep' if keepdim else ''}"
                run = lambda x: getattr(torch, op)(x, axis, keepdim=keepdim)
                case(name, op, run, normal(2, 3, 4), grad=False, axis=axis, keepdim=keepdim)
        case(f"{op}/ties", op, lambda x: getattr(torch, op)(x, 1), f64([[1.0, 3.0, 3.0, 1.0], [2.0, 2.0, 2.0, 2.0]]), grad=False, axis=1, keepdim=False)


def matmuls():
    shapes = {
        "": ((3, 4), (4, 5)), "/dot": ((4,), (4,)), "/matrix_vector": ((3, 4), (4,)), "/vector_matrix": ((4,), (4, 5)),
        "/batched": ((2, 3, 4), (2, 4, 5)), "/shared": ((2, 3, 4), (4, 5)), "/shared_left": ((3, 4), (2, 4, 5)),
        "/broadcast": ((2, 1, 3, 4), (5, 4, 2)), "/one": ((1, 1), (1, 1)), "/inner_0": ((3, 0), (0, 5)), "/odd": ((7, 17), (17, 9)),
    }
    for suffix, (a, b) in shapes.items():
        case("matmul" + suffix, "matmul", torch.matmul, normal(*a), normal(*b))


def softmaxes():
    large = f64([[1e3, 0.0, -1e3], [1e3, 1e3, 1e3], [-1e3, -1e3, 0.0]])
    for op in ("softmax", "log_softmax"):
        function = getattr(F, op)
        for axis in (0, 1, 2, -1):
            case(f"{op}/{axis % 3}{'n' if axis < 0 else ''}", op, lambda x: function(x, axis), normal(2, 3, 4), axis=axis)
        case(f"{op}/large", op, lambda x: function(x, -1), large, axis=-1)
        case(f"{op}/vector", op, lambda x: function(x, 0), normal(5), axis=0)
    labels = torch.tensor([2, 0, 4, 1])
    soft = F.softmax(normal(4, 5), 1)
    for reduction in ("mean", "sum", "none"):
        run = lambda x, t: F.cross_entropy(x, t, reduction=reduction)
        case(f"cross_entropy/{reduction}", "cross_entropy", run, normal(4, 5), labels, reduction=reduction)
        case(f"cross_entropy/soft/{reduction}", "cross_entropy", run, normal(4, 5), soft, reduction=reduction)
    run = lambda x, t: F.cross_entropy(x, t)
    case("cross_entropy/large", "cross_entropy", run, large, torch.tensor([1, 0, 2]), reduction="mean")
    run = lambda x, t: F.cross_entropy(x, t, label_smoothing=0.1)
    case("cross_entropy/smooth", "cross_entropy", run, normal(4, 5), labels, reduction="mean", label_smoothing=0.1)
    run = lambda x, t: F.binary_cross_entropy_with_logits(x, t)
    case("binary_cross_entropy_logits", "binary_cross_entropy_logits", run, normal(3, 5), torch.rand(3, 5, dtype=torch.float64), reduction="mean")
    case("binary_cross_entropy_logits/large", "binary_cross_entropy_logits", run, f64([-1e3, -1e3, 1e3, 1e3]), f64([0.0, 1.0, 0.0, 1.0]), reduction="mean")


def ordering():
    for op in ("cumsum", "cumprod"):
        for axis in (0, 1, -1):
            name = f"{op}/{axis % 3}{'n' if axis < 0 else ''}"
            case(name, op, lambda x: getattr(torch, op)(x, axis), normal(2, 3, 4), axis=axis)
    for descending in (False, True):
        for axis in (0, 1, -1):
            name = f"sort/{axis % 3}{'n' if axis < 0 else ''}{'/descending' if descending else ''}"
            run = lambda x: tuple(torch.sort(x, dim=axis, descending=descending, stable=True))
            case(name, "sort", run, normal(2, 3, 4), axis=axis, descending=descending)
        run = lambda x: tuple(torch.sort(x, dim=1, descending=descending, stable=True))
        ties = f64([[1.0, 0.0, 1.0, 0.0, -0.0], [2.0, 2.0, 2.0, 2.0, 2.0]])
        case(f"sort/ties{'/descending' if descending else ''}", "sort", run, ties, axis=1, descending=descending)
    for largest in (True, False):
        for axis in (0, 1, -1):
            name = f"topk/{axis % 2}{'n' if axis < 0 else ''}{'' if largest else '/smallest'}"
            run = lambda x: tuple(torch.topk(x, 2, axis, largest=largest, sorted=True))
            case(name, "topk", run, normal(4, 5), k=2, axis=axis, largest=largest)


def indexing():
    for axis, index in {0: [[0, 2, 1], [1, 1, 0]], 1: [[0, 0], [3, 1], [2, 2]]}.items():
        index = torch.tensor(index)
        run = lambda x, i: torch.gather(x, axis, i)
        case(f"gather/{axis}", "gather", run, normal(3, 4), index, axis=axis)
        add = lambda x, i, s: torch.scatter_add(x, axis, i, s)
        case(f"scatter_add/{axis}", "scatter_add", add, normal(3, 4), index, normal(*index.shape), axis=axis)
    rows = torch.tensor([2, 0, 2, 1, 2])
    for axis in (0, 1, 2):
        case(f"index_select/{axis}", "index_select", lambda x, i: torch.index_select(x, axis, i), normal(3, 4, 3), rows, axis=axis)
    case("embedding", "embedding", lambda w, i: F.embedding(i, w), normal(5, 3), torch.tensor([[1, 1, 0], [4, 1, 2]]))
    case("one_hot", "one_hot", lambda i: F.one_hot(i, 4).double(), torch.tensor([[0, 3], [2, 0]]), grad=False, classes=4)
    choose = torch.tensor([[True, False, True], [False, False, True]])
    case("where", "where", torch.where, choose, normal(2, 3), normal(2, 3))
    case("where/broadcast", "where", torch.where, choose, normal(3), normal(2, 1))
    case("where/scalar", "where", torch.where, choose, normal(), normal(2, 3))
    case("masked_fill", "masked_fill", lambda x, m: x.masked_fill(m, -7.0), normal(2, 3), choose, value=-7.0)


def shapes():
    x = normal(2, 3, 4)
    case("reshape", "reshape", lambda x: x.reshape(4, 6), x, shape=[4, 6])
    case("permute", "permute", lambda x: x.permute(2, 0, 1), x, axes=[2, 0, 1])
    case("transpose", "transpose", lambda x: x.transpose(0, 2), x, axes=[0, 2])
    case("slice", "slice", lambda x: x[:, 1:3], x, axis=1, start=1, end=3)
    case("slice/step", "slice", lambda x: x[:, :, 0:4:2], x, axis=2, start=0, end=4, step=2)
    case("broadcast_to", "broadcast_to", lambda x: x.expand(2, 3, 4), normal(3, 1), shape=[2, 3, 4])
    case("flip", "flip", lambda x: x.flip(0, 2), x, axes=[0, 2])
    case("roll", "roll", lambda x: x.roll(2, 1), x, shift=2, axis=1)
    case("pad", "pad", lambda x: F.pad(x, (1, 2, 0, 1), value=0.5), x, padding=[[0, 0], [0, 1], [1, 2]], value=0.5)
    case("tile", "tile", lambda x: x.repeat(2, 1, 3), x, repeats=[2, 1, 3])
    case("repeat", "repeat", lambda x: x.repeat_interleave(2, 1), x, repeats=2, axis=1)
    case("diagonal", "diagonal", lambda x: x.diagonal(), normal(3, 4))
    for offset in (-1, 0, 1):
        case(f"tril/{offset}", "tril", lambda x: x.tril(offset), normal(3, 4), diagonal=offset)
        case(f"triu/{offset}", "triu", lambda x: x.triu(offset), normal(3, 4), diagonal=offset)
    case("cat/0", "cat", lambda *xs: torch.cat(xs, 0), normal(2, 3), normal(1, 3), normal(0, 3), axis=0)
    case("cat/1", "cat", lambda *xs: torch.cat(xs, 1), normal(2, 3), normal(2, 1), axis=1)
    case("stack/0", "stack", lambda *xs: torch.stack(xs, 0), normal(2, 3), normal(2, 3), axis=0)
    case("stack/n", "stack", lambda *xs: torch.stack(xs, -1), normal(2, 3), normal(2, 3), axis=-1)


def layers():
    """What layers make of their ops: x, weight, bias."""
    case("dense", "dense", lambda x, w, b: x @ w + b, normal(3, 4), normal(4, 5), normal(5), activation="linear")
    case("dense/relu", "dense", lambda x, w, b: F.relu(x @ w + b), normal(3, 4), normal(4, 5), normal(5), activation="relu")
    case("dense/softmax", "dense", lambda x, w, b: F.softmax(x @ w + b, -1), normal(3, 4), normal(4, 5), normal(5), activation="softmax")
    case("dense/rank_3", "dense", lambda x, w, b: torch.tanh(x @ w + b), normal(2, 3, 4), normal(4, 5), normal(5), activation="tanh")
    norm = lambda x, g, b: F.layer_norm(x, (4,), g, b, 1e-5)
    case("layer_norm", "layer_norm", norm, normal(2, 3, 4), normal(4), normal(4), epsilon=1e-5)
    norm = lambda x, g: F.rms_norm(x, (4,), g, 1e-5)
    case("rms_norm", "rms_norm", norm, normal(2, 3, 4), normal(4), epsilon=1e-5)
    for order in (1.0, 3.0, INF):
        run = lambda x: torch.linalg.vector_norm(x, order, 1)
        case(f"norm_p/{order:g}", "norm_p", run, normal(3, 5), axis=1, order="inf" if order == INF else order)
    case("normalize", "normalize", lambda x: F.normalize(x, dim=1), normal(3, 5), axis=1)

    def mlp(x, labels, w0, b0, w1, b1):
        return F.cross_entropy(F.leaky_relu(x @ w0 + b0, 0.3) @ w1 + b1, labels)

    labels = torch.tensor([0, 2, 1])
    case("mlp", "mlp", mlp, normal(3, 4), labels, normal(4, 6), normal(6), normal(6, 3), normal(3), slope=0.3)


def images():
    """Images are `[n, h, w, channels]` and weights `[kh, kw, c / groups, o]`, as TensorFlow has them; padding is
    `[[top, bottom], [left, right]]`."""
    first = lambda x: x.permute(0, 3, 1, 2)
    last = lambda y: y.permute(0, 2, 3, 1)
    filters = lambda w: w.permute(3, 2, 0, 1)
    zeros = lambda x, padding: F.pad(x, (*padding[1], *padding[0]))
    x = normal(1, 5, 6, 4)

    def conv(name, w, bias=True, stride=(1, 1), dilation=(1, 1), padding=((0, 0), (0, 0)), groups=1):
        run = lambda x, w, b=None: last(F.conv2d(zeros(first(x), padding), filters(w), b, stride, 0, dilation, groups))
        inputs = (x, w, normal(w.shape[3])) if bias else (x, w)
        case(name, "conv2d", run, *inputs, stride=stride, dilation=dilation, padding=padding, groups=groups)

    conv("conv2d", normal(3, 2, 4, 3))
    conv("conv2d/no_bias", normal(3, 3, 4, 3), bias=False)
    conv("conv2d/stride", normal(3, 3, 4, 3), stride=(2, 3))
    conv("conv2d/dilation", normal(2, 3, 4, 2), dilation=(3, 2))
    conv("conv2d/padding", normal(3, 3, 4, 3), padding=((1, 1), (1, 1)))
    conv("conv2d/asymmetric", normal(3, 2, 4, 3), padding=((0, 2), (1, 0)), stride=(2, 1))
    conv("conv2d/groups", normal(3, 3, 2, 6), groups=2, padding=((1, 1), (1, 1)))
    conv("conv2d/depthwise", normal(3, 3, 1, 4), groups=4, padding=((1, 1), (1, 1)))
    conv("conv2d/multiplier", normal(2, 2, 1, 8), groups=4, stride=(2, 2))
    conv("conv2d/pointwise", normal(1, 1, 4, 5))
    conv("conv2d/all", normal(3, 2, 2, 4), groups=2, stride=(2, 1), dilation=(1, 2), padding=((2, 1), (0, 1)))
    same = lambda x, w: last(F.conv2d(first(x), filters(w), padding="same", dilation=(1, 2)))
    case("conv2d/same", "conv2d_same", same, x, normal(3, 2, 4, 3), dilation=(1, 2))
    for name, more in {"": {}, "/stride": {"stride": 2, "padding": 1, "output_padding": 1}, "/groups": {"groups": 2, "dilation": 2}}.items():
        groups = more.get("groups", 1)
        # Weights are those of the convolution that this transposes: PyTorch's [in, out / groups, kh, kw] are its filters.
        run = lambda y, w: last(F.conv_transpose2d(first(y), filters(w), **more))
        case(f"conv2d_transpose{name}", "conv2d_transpose", run, normal(1, 3, 4, 4), normal(3, 3, 2, 4), groups=groups,
             stride=more.get("stride", 1), dilation=more.get("dilation", 1), padding=more.get("padding", 0), output_padding=more.get("output_padding", 0))
    along = lambda x, w: F.conv1d(x.permute(0, 2, 1), w.permute(2, 1, 0), stride=2, padding=1).permute(0, 2, 1)
    case("conv1d", "conv1d", along, normal(2, 7, 3), normal(3, 3, 4), stride=2, padding=1)

    pools = {"": (2, 2, 0, 1), "/overlapping": (3, 2, 1, 1), "/dilated": (2, 1, 1, 2), "/wide": ((3, 2), (1, 2), (1, 0), 1)}
    for name, (size, stride, padding, dilation) in pools.items():
        attributes = dict(size=size, stride=stride, padding=padding, dilation=dilation)
        case(f"max_pool2d{name}", "max_pool2d", lambda x: last(F.max_pool2d(first(x), size, stride, padding, dilation)), x, **attributes)
        if dilation == 1:
            for counted in (True, False):
                run = lambda x: last(F.avg_pool2d(first(x), size, stride, padding, count_include_pad=counted))
                case(f"avg_pool2d{name}/{'with' if counted else 'without'}_padding", "avg_pool2d", run, x, count_padding=counted, **attributes)
    ties = f64([[1.0, 1.0, 0.0, 2.0], [1.0, 0.0, 2.0, 2.0]]).reshape(1, 2, 4, 1)
    case("max_pool2d/ties", "max_pool2d", lambda x: last(F.max_pool2d(first(x), 2)), ties, size=2, stride=2, padding=0, dilation=1)
    for output in [(2, 3), (3, 4), (1, 1)]:
        run = lambda x: last(F.adaptive_avg_pool2d(first(x), output))
        case(f"adaptive_avg_pool2d/{output[0]}x{output[1]}", "adaptive_avg_pool2d", run, x, output=output)
    run = lambda x: last(F.interpolate(first(x), scale_factor=(2, 3), mode="nearest"))
    case("upsample_nearest2d", "upsample_nearest2d", run, x, scale=(2, 3))
    for output in [(10, 9), (3, 7)]:
        run = lambda x: last(F.interpolate(first(x), size=output, mode="bilinear", align_corners=False))
        case(f"upsample_bilinear2d/{output[0]}x{output[1]}", "upsample_bilinear2d", run, x, output=output)


unaries()
binaries()
reductions()
matmuls()
softmaxes()
ordering()
indexing()
shapes()
layers()
images()
book.save("ops")
