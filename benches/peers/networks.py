"""The whole networks of the comparison: their images, our recipes for them, and their rows in the table."""
import collections
import json
import os
import pathlib
import statistics
import subprocess
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
# A case's name, what the table calls it, the side of its images, how many there are, and the ratio to the best peer that is due.
Network = collections.namedtuple("Network", "case label side count due")
NETWORKS = [
    Network("cnn", "CNN conv32-pool-conv64-pool-dense128, 28x28, batch 64", 28, 12800, 3),
    Network("cifar", "`cnn-cifar`'s network, batch 64", 32, 3200, 1.4),
    Network("mobilenet-32-full", "MobileNetV2, all of it, 32x32, batch 32", 32, 640, 4),
    Network("mobilenet-96-full", "MobileNetV2, all of it, 96x96, batch 32", 96, 192, 2.5),
    Network("mobilenet-32-frozen", "MobileNetV2, frozen features and a head, 32x32, batch 32", 32, 3200, 3),
    Network("mobilenet-96-frozen", "MobileNetV2, frozen features and a head, 96x96, batch 32", 96, 640, 2),
]

CONVOLUTION = '[[layer]]\ntype = "conv2d"\nfilters = {}\nkernel_size = 3\npadding = "{}"\nactivation = "relu"\n'
POOL = '[[layer]]\ntype = "max_pool2d"\npool_size = 2\n'
DENSE = '[[layer]]\ntype = "dense"\nunits = {}\nactivation = "{}"\n'
FLATTEN = '[[layer]]\ntype = "flatten"\n'
DROPOUT = '[[layer]]\ntype = "dropout"\nrate = 0.5\n'
RECIPE = """name = "{case}"
preset = "keras"
seed = 42

[data]
source = "npy"
scale = 255.0
channels = {channels}
files.train = ["{case}-images.npy", "{case}-labels.npy"]

{layers}
[optimizer]
kind = "adam"
learning_rate = 1e-3

[train]
loss = "sparse_categorical_crossentropy"
epochs = {epochs}
batch = {batch}
"""


def recipe(network, epochs):
    """Our text of a network."""
    both = lambda filters, padding: CONVOLUTION.format(filters, padding)
    if network.case == "cnn":
        layers = [both(32, "valid"), POOL, both(64, "valid"), POOL, FLATTEN, DENSE.format(128, "relu"), DROPOUT]
    elif network.case == "cifar":
        layers = [both(32, "same"), both(32, "valid"), POOL, both(64, "same"), both(64, "valid"), POOL, FLATTEN]
        layers.append(DENSE.format(512, "relu"))
    else:
        trainable = "false" if network.case.endswith("frozen") else "true"
        layers = [f'[[layer]]\ntype = "mobilenet_v2"\ntrainable = {trainable}\n[[layer]]\ntype = "global_avg_pool2d"\n']
    layers.append(DENSE.format(10, "softmax"))
    sizes = {"channels": 1 if network.case == "cnn" else 3, "batch": 64 if network.case in ("cnn", "cifar") else 32}
    return RECIPE.format(case=network.case, layers="".join(layers), epochs=epochs, **sizes)


def prepare(options):
    """Writes images and recipes where all engines read them."""
    work = pathlib.Path(options.work)
    for network in NETWORKS:
        code = "import common, sys; common.write_images(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))"
        env = dict(os.environ, PEERS_IMAGES=options.work, FASHION_MNIST=options.data, PYTHONPATH=str(HERE))
        sizes = [str(network.side), str(network.count)]
        subprocess.run([options.torch, "-c", code, network.case, *sizes], check=True, env=env)
        text = recipe(network, 2 if options.quick else 4)
        (work / f"{network.case}.toml").write_text(text, encoding="utf-8")


def measure(comparison, round, heap):
    """Trains every network with every engine."""
    o = comparison.options
    for network in NETWORKS:
        case = network.case
        with tempfile.TemporaryDirectory() as folder:
            # Peers compute frozen features anew for every batch.
            options = ["--feature-cache", "off", "--threads", 2, "--json", "--quiet", "--out", folder]
            command = [o.gradus, "train", f"{case}.toml", *options]
            done = comparison.run(command)
        if done:
            # The first epoch warms up, as the peers' does.
            seconds = statistics.median(epoch["seconds"] for epoch in json.loads(done[0])["history"][1:])
            comparison.figure(round, "gradus", case, network.count / seconds, done[2])
        images = {"PEERS_IMAGES": o.work}
        for layout, setting in (("planes", ""), ("last", "channels last, ")):
            rows = [o.torch, HERE / "torch_networks.py", case, layout, 2]
            for name, extra in (("usual heap", {}), ("heap", heap)):
                label = {"PEERS_LABEL": f"torch ({setting}{name})"}
                comparison.peer(round, None, rows, {**images, **label, **extra})
        if not o.quick:
            comparison.peer(round, None, [o.keras, HERE / "keras_rows.py", "network", case, 2], images)


def memory_rows(comparison):
    """The largest resident set of `cnn-cifar`'s training, and for peers how much of it came after their libraries were read."""
    ours = comparison.extra("gradus", "cifar", 2)
    peers = sorted({f.engine for f in comparison.figures if f.case == "cifar memory"})
    if ours is None or not peers:
        return []
    label = "peak memory of `cnn-cifar`'s network, batch 64"
    both = {name: (comparison.extra(name, "cifar memory", 2), comparison.middle(name, "cifar memory", 2)) for name in peers}
    least = min(both, key=lambda name: both[name][1])
    whole, own = both[least]
    theirs = f"{least} {whole:.0f} MB, {own:.0f} of them after its libraries were read"
    return [[label, 2, f"{ours:.0f} MB", theirs, f"{ours / whole:.2f}x", "at most 1x", "", ""]]
