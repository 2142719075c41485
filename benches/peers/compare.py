"""Runs gradus and its peers in turn on every row of the comparison, and writes the table of docs/performance.md.

A round runs each engine once on a section's cases; a ratio is the median over rounds of ours to theirs in the same
round, for the peer, at its best setting, that is the fastest over all rounds. Called by run.sh, which says how."""
import argparse
import collections
import datetime
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

import networks

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
PAGE = ROOT / "docs" / "performance.md"
BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"
# Freed memory is kept, so that large results cost no page faults: PyTorch at its best.
HEAP = {
    "MALLOC_MMAP_THRESHOLD_": "4000000000",
    "MALLOC_TRIM_THRESHOLD_": "8000000000",
    "MALLOC_TOP_PAD_": "500000000",
}

# The peers' name of a case, ours, the least ratio to the best peer that is due.
SQUARES = [(f"sq{n}", "matmul", f"{n}x{n}x{n}", 1.05) for n in (64, 128, 256, 512, 1024, 2048)]
LAYERS = [
    ("32x784x300", "matmul", "32x784x300", 1.15),
    ("32x300x100", "matmul", "32x300x100", 1.15),
    ("128x784x512", "matmul", "128x784x512", 1.15),
    ("XtG 784x32x300", "matmul_tn", "784x32x300", 1.15),
    ("GWt 32x300x784", "matmul_nt", "32x300x784", 1.15),
    ("im2col 64x576x1024", "matmul", "64x576x1024", 1.15),
]
POINTWISE = [
    (f"{theirs} {size}", ours, shape, due)
    for size, shape in (("1M", "1024x1024"), ("16M", "4096x4096"))
    for theirs, ours, due in (("relu", "relu", 1), ("add", "add", 1), ("mul scalar", "mul_scalar", 1))
] + [
    ("exp 1M", "exp", "1024x1024", 3),
    ("tanh 1M", "tanh", "1024x1024", 6),
    ("sigmoid 1M", "sigmoid", "1024x1024", 2.5),
    ("gelu 1M", "gelu", "1024x1024", 1.5),
    ("softmax 256x1000", "softmax", "256x1000", 2),
    ("layernorm 1M", "layer_norm", "1024x1024", 1.3),
    ("batchnorm train fwd 1M", "batch_norm", "1024x1024", 1.5),
    ("sum axis0 1M", "sum_axis0", "1024x1024", 1.3),
    ("argmax axis1 1M", "argmax_axis1", "1024x1024", 1.3),
    ("transpose 2048", "transpose", "2048x2048", 3),
]
# Ours with one shape each; the second name of ours computes all gradients too.
CONVOLUTIONS = [
    ("conv 1-32 on 28x28", "conv2d", "32x28x28x1x32x3", 1.5, 4),
    ("conv 32-64 on 13x13", "conv2d", "32x13x13x32x64x3", 1.1, 1.4),
    ("conv 64-64 on 32x32", "conv2d_same", "32x32x32x64x64x3", 1.15, 1.4),
    ("depthwise 96 on 56x56", "depthwise", "32x56x56x96x96x3", 2, 2),
    ("pointwise 96-24 on 56x56", "conv2d", "32x56x56x96x24x1", 1.5, 2),
]
CONVOLUTIONS = [
    row
    for theirs, ours, shape, due, due_all in CONVOLUTIONS
    for row in ((theirs, ours, shape, due), (f"{theirs}, all gradients", f"{ours}_step", shape, due_all))
]
MODELS = [("mlp", "MLP 784-300-100-10, batch 32, SGD", 2.5), ("bnmlp", "`fashion-bn`, batch 32, SGD", 3.5)] + [
    ("ae", "autoencoder 784-128-64-32-64-128-784, batch 256, Adam", 2)
]
SECTIONS = ["gemm", "elem", "conv", "train", "networks", "epoch", "lab"]

Figure = collections.namedtuple("Figure", "round engine case threads value extra", defaults=[None])


class Comparison:
    def __init__(self, options):
        self.options = options
        self.figures = []
        self.log = open(options.results, "a", encoding="utf-8")
        env = dict(os.environ, FASHION_MNIST=options.data, PEERS_SLICE=str(options.slice))
        # What some machines set for an old OpenBLAS slows a new one.
        self.env = {name: text for name, text in env.items() if not name.startswith(("OPENBLAS_", "GRADUS_"))}

    def run(self, command, extra=None):
        """Runs a command and gives its stdout, its seconds and its largest resident set in MB; None if it failed."""
        env = dict(self.env, **(extra or {}))
        start = time.perf_counter()
        with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
            process = subprocess.Popen([str(part) for part in command], stdout=out, stderr=err, env=env, cwd=self.options.work)
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
            seconds = time.perf_counter() - start
            out.seek(0)
            err.seek(0)
            if process.returncode != 0:
                print(f"failed: {' '.join(map(str, command))}\n{err.read()[-2000:]}", file=sys.stderr)
                return None
            return out.read(), seconds, usage.ru_maxrss / 1024

    def add(self, figure):
        self.figures.append(figure)
        self.log.write(json.dumps(figure._asdict()) + "\n")
        self.log.flush()

    def peer(self, round, engine, command, extra=None, threads=None):
        """Runs a peer whose stdout has a figure a line."""
        done = self.run(command, extra)
        for line in done[0].splitlines() if done else []:
            if line.startswith("{"):
                row = json.loads(line)
                name = engine or row["peer"]
                self.add(Figure(round, name, row["case"], threads or row["threads"], row["median"], row.get("extra")))

    def figure(self, round, engine, case, value, extra):
        """Notes a figure of two threads."""
        self.add(Figure(round, engine, case, 2, value, extra))

    def kernels(self, round, cases, threads):
        """Our kernels at the cases' shapes, an operation at a time."""
        shapes = collections.defaultdict(list)
        for theirs, ours, shape, _ in cases:
            shapes[ours].append((shape, theirs))
        for ours, both in shapes.items():
            names = dict(both)
            seconds = 4 * self.options.slice
            command = [self.options.gradus, "kernel", "bench", ours, *names, "--threads", threads, "--time", seconds, "--json"]
            done = self.run(command)
            for line in done[0].splitlines() if done else []:
                row = json.loads(line)
                # Peers report medians, so ours is one too.
                rate = (row["gflops"] or row["gbps"]) * row["seconds"] / row["median_seconds"]
                self.add(Figure(round, "gradus", names[row["shape"]], threads, rate, row["share_of_peak"]))

    def train(self, model, threads, epochs):
        """Our training command; its JSON, seconds and memory."""
        recipe = {"mlp": ["mnist", "--set", "data.source=fashion-mnist"], "bnmlp": ["fashion-bn"], "ae": ["autoencoder.toml"]}
        with tempfile.TemporaryDirectory() as folder:
            options = ["--epochs", epochs, "--threads", threads, "--json", "--quiet", "--out", folder]
            return self.run([self.options.gradus, "train", *recipe[model], *options])

    def round(self, number):
        o, every = self.options, not self.options.quick
        torch, keras, rust = o.torch, o.keras, pathlib.Path(o.rust)
        both = (2, 1)
        if "gemm" in o.sections:
            for threads in both:
                pool = {"RAYON_NUM_THREADS": str(threads), "MATMUL_NUM_THREADS": str(threads)}
                self.kernels(number, SQUARES + LAYERS, threads)
                self.peer(number, None, [torch, HERE / "torch_rows.py", "gemm", threads])
                self.peer(number, None, [torch, HERE / "numpy_rows.py", "gemm", threads])
                self.peer(number, None, [rust / "kernels", "gemm", threads], pool)
        if "elem" in o.sections:
            for threads in both:
                self.kernels(number, POINTWISE, threads)
            self.peer(number, None, [torch, HERE / "torch_rows.py", "elem", 2])
            self.peer(number, None, [torch, HERE / "torch_rows.py", "elem", 2], dict(HEAP, PEERS_LABEL="torch (heap)"))
            if every:
                self.peer(number, None, [torch, HERE / "numpy_rows.py", "elem", 2])
                self.peer(number, None, [rust / "burnbench", "flex", "elem"], {"RAYON_NUM_THREADS": "2"})
                self.peer(number, None, [rust / "candlebench", "elem"], {"RAYON_NUM_THREADS": "2"})
        if "conv" in o.sections:
            self.kernels(number, CONVOLUTIONS, 2)
            for layout, setting in (("conv", ""), ("conv-last", "channels last, ")):
                rows = [torch, HERE / "torch_rows.py", layout, 2]
                self.peer(number, None, rows, {"PEERS_LABEL": f"torch ({setting}usual heap)"})
                self.peer(number, None, rows, dict(HEAP, PEERS_LABEL=f"torch ({setting}heap)"))
            if every:
                self.peer(number, None, [keras, HERE / "keras_rows.py", "conv", 2])
        if "train" in o.sections:
            for model, _, _ in MODELS:
                for threads in both:
                    done = self.train(model, threads, 3 if every else 1)
                    if done:
                        rate = json.loads(done[0])["samples_per_second"]
                        self.add(Figure(number, "gradus", model, threads, rate))
                for threads in both:
                    pool = {"RAYON_NUM_THREADS": str(threads)}
                    self.peer(number, None, [torch, HERE / "torch_rows.py", "train", model, threads], HEAP)
                    if every:
                        self.peer(number, None, [rust / "burnbench", "flex", "train", model], pool)
                if every:
                    self.peer(number, None, [rust / "candlebench", "train", model], {"RAYON_NUM_THREADS": "1"})
                    self.peer(number, "keras", [keras, HERE / "keras_rows.py", "train", model, 2])
        if "networks" in o.sections:
            networks.measure(self, number, HEAP)
        if "epoch" in o.sections:
            commands = {"torch": ([torch, HERE / "torch_rows.py", "epoch", 1], {})}
            if every:
                commands["keras"] = ([keras, HERE / "keras_rows.py", "epoch", 2], {})
                commands["burn-flex"] = ([rust / "burnbench", "flex", "epoch"], {"RAYON_NUM_THREADS": "1"})
                commands["candle"] = ([rust / "candlebench", "epoch"], {"RAYON_NUM_THREADS": "1"})
            runs = {"gradus": self.train("mlp", 2, 1)}
            runs.update({name: self.run(command, extra) for name, (command, extra) in commands.items()})
            for name, done in runs.items():
                if done:
                    self.add(Figure(number, name, "epoch", 2, done[1], done[2]))

        if "lab" in o.sections and every:
            with tempfile.TemporaryDirectory() as folder:
                lab = ["lab", "transfer-parity", "--set", "data.source=fashion-mnist", "--json", "--quiet", "--out", folder]
                runs = {"gradus": self.run([o.gradus, *lab]), "keras": self.run([keras, HERE / "keras_rows.py", "lab", 2])}
            for name, done in runs.items():
                if done:
                    self.add(Figure(number, name, "lab", 2, done[1], done[2]))

    # The table.

    def series(self, engine, case, threads):
        """Values by round."""
        wanted = (engine, case, threads)
        return {f.round: f.value for f in self.figures if (f.engine, f.case, f.threads) == wanted}

    def middle(self, engine, case, threads):
        return statistics.median(self.series(engine, case, threads).values())

    def extra(self, engine, case, threads):
        wanted = (engine, case, threads)
        values = [f.extra for f in self.figures if (f.engine, f.case, f.threads) == wanted and f.extra is not None]
        return statistics.median(values) if values else None

    def peers(self, case, most):
        """The peers at their best setting, the fastest first: name, median, values by round."""
        best = {}
        for engine, threads in {(f.engine, f.threads) for f in self.figures if f.case == case and f.engine != "gradus"}:
            values = self.series(engine, case, threads)
            if threads > most:
                continue
            family, median = engine.split(" ")[0], statistics.median(values.values())
            if family not in best or median > best[family][1]:
                setting = engine if threads == 2 else f"{engine}, 1 thread"
                best[family] = (engine if most == 1 else setting, median, values)
        return sorted(best.values(), key=lambda peer: -peer[1])

    def ratio(self, ours, theirs):
        paired = [ours[round] / theirs[round] for round in ours if round in theirs]
        return statistics.median(paired) if paired else None

    def compared(self, label, case, threads, unit, due, note=""):
        ours = self.series("gradus", case, threads)
        if not ours:
            return []
        peers = self.peers(case, threads)
        named = ", ".join(f"{name} {number(value)}" for name, value, _ in peers[:2]) or "-"
        ratio = self.ratio(ours, peers[0][2]) if peers else None
        return [[label, threads, f"{number(statistics.median(ours.values()))} {unit}", named, times(ratio), due, note]]

    def share(self, case, threads):
        share = self.extra("gradus", case, threads)
        return "" if share is None else f"{100 * share:.0f} %"

    def doubled(self, case):
        """How much faster two threads are than one."""
        two, one = self.series("gradus", case, 2), self.series("gradus", case, 1)
        return "" if not (one and two) else times(self.ratio(two, one))

    def process(self, case, label, engine, due):
        """The row of a whole process: its seconds and its memory."""
        seconds = self.series(engine, case, 2)
        if not seconds:
            return []
        shown = f"{statistics.median(seconds.values()):.2f} s, {self.extra(engine, case, 2):.0f} MB"
        cells = [shown, ""] if engine == "gradus" else ["", f"{engine} {shown}"]
        return [[label, "", *cells, "", due if engine == "gradus" else "", "", ""]]

    def table(self):
        heading = ["work", "threads", "gradus", "best peers", "ratio", "due", "of peak", "2 threads to 1"]
        rows = []

        def add(label, case, threads, unit, due, share=True, scaled=None):
            for row in self.compared(label, case, threads, unit, due, self.share(case, threads) if share else ""):
                rows.append(row + [self.doubled(case) if scaled is None else scaled])

        for threads in (2, 1):
            for case, _, shape, due in SQUARES + (LAYERS if threads == 2 else []):
                label = {"XtG": "AᵀB ", "GWt": "ABᵀ "}.get(case.split(" ")[0], "") + shape
                peak = ", 85 % of peak" if case in ("sq512", "sq1024", "sq2048") else ""
                add(f"sgemm {label}", case, threads, "GFLOP/s", f"{due}x{peak}", scaled=None if threads == 2 else "")
        for case, _, _, due in POINTWISE:
            large = case.endswith("16M")
            add(case, case, 2, "GB/s", "90 % of the triad" if large else f"{due}x")
        for case, _, _, due in CONVOLUTIONS:
            add(f"{case}, batch 32", case, 2, "GFLOP/s", f"{due}x", scaled="")
        for model, label, due in MODELS:
            ours = {threads: self.series("gradus", model, threads) for threads in (1, 2)}
            if ours[2]:
                add(f"step of {label}", model, 2, "samples/s", f"{due}x", share=False)
                keras = self.series("keras", model, 2)
                if model == "mlp" and keras:
                    theirs = f"keras {number(statistics.median(keras.values()))}"
                    mean = f"{number(statistics.median(ours[2].values()))} samples/s"
                    rows.append([f"step of {label}", 2, mean, theirs, times(self.ratio(ours[2], keras)), "7x", "", ""])
        for network in networks.NETWORKS:
            add(f"training of {network.label}", network.case, 2, "samples/s", f"{network.due}x", share=False)
        rows += networks.memory_rows(self)
        for engine in ("gradus", "burn-flex", "candle", "torch", "keras"):
            rows += self.process("epoch", "one epoch of `mnist`'s network as a process", engine, "2 s, 150 MB")
        for engine in ("gradus", "keras"):
            rows += self.process("lab", "three trainings of `lab transfer-parity` as a process", engine, "30 s")
        lines = ["| " + " | ".join(heading) + " |", "|" + "---|" * len(heading)]
        return "\n".join(lines + ["| " + " | ".join(map(str, row)) + " |" for row in rows])

    def text(self):
        peak = self.run([self.options.gradus, "device", "peak", "--threads", "1,2"])
        rounds = 1 + max((f.round for f in self.figures), default=-1)
        where = f"{machine()}; {datetime.date.today()}; {rounds} rounds; {self.versions()}."
        block = f"```text\n{peak[0].rstrip()}\n```" if peak else ""
        return f"{where}\n\n{block}\n\n{self.table()}"

    def versions(self):
        def of(python, names):
            text = "import importlib.metadata as m,sys; print(', '.join(f'{n} {m.version(n)}' for n in sys.argv[1:]))"
            done = self.run([python, "-c", text, *names])
            return [done[0].strip()] if done else []

        found = of(self.options.torch, ["torch", "numpy"])
        if not self.options.quick:
            found += of(self.options.keras, ["keras", "tensorflow-cpu"])
        manifest = (HERE / "rust" / "Cargo.toml").read_text(encoding="utf-8")
        pins = [line.split("=", 1) for line in manifest.splitlines() if '"=' in line]
        return ", ".join(found + [f"{name.strip()} {pin.split(chr(34))[1].lstrip('=')}" for name, pin in pins])


def machine():
    lines = pathlib.Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    flags = next((line for line in lines if line.startswith("flags")), "").split()
    widest = "AVX-512" if "avx512f" in flags else "AVX2" if "avx2" in flags else "no AVX2"
    release = os.uname()
    return f"{names[0] if names else release.machine}, {os.cpu_count()} cores, {widest}, {release.sysname} {release.release}"


def number(value):
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}"


def times(ratio):
    return "-" if ratio is None else f"{ratio:.2f}x"


def images(options):
    """Our autoencoder reads its images as numbers from 0 to 1, as the peers do."""
    code = "import common, numpy, sys; numpy.save(sys.argv[1], common.fashion_mnist()[0])"
    path = pathlib.Path(options.work) / "images.npy"
    env = dict(os.environ, FASHION_MNIST=options.data, PYTHONPATH=str(HERE))
    subprocess.run([options.torch, "-c", code, str(path)], check=True, env=env)
    (pathlib.Path(options.work) / "autoencoder.toml").write_text((HERE / "autoencoder.toml").read_text())


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gradus", required=True, help="our binary")
    parser.add_argument("--torch", required=True, help="a Python with torch and numpy")
    parser.add_argument("--keras", required=True, help="a Python with keras and tensorflow-cpu")
    parser.add_argument("--rust", required=True, help="the folder of the Rust peers' binaries")
    parser.add_argument("--data", required=True, help="the folder of Fashion-MNIST's unpacked files")
    parser.add_argument("--work", required=True, help="a folder for what is only needed meanwhile")
    parser.add_argument("--results", required=True, help="a file that every figure is appended to")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--slice", type=float, default=0.08, help="seconds of a timing; training runs 30 of them")
    parser.add_argument("--sections", nargs="+", choices=SECTIONS, default=SECTIONS)
    parser.add_argument("--quick", action="store_true", help="one short round with PyTorch alone; writes no page")
    options = parser.parse_args()
    if options.quick:
        options.rounds, options.slice = 1, min(options.slice, 0.01)
    if "train" in options.sections:
        images(options)
    if "networks" in options.sections:
        networks.prepare(options)
    comparison = Comparison(options)
    for round in range(options.rounds):
        print(f"round {round + 1} of {options.rounds}", file=sys.stderr)
        comparison.round(round)
    text = comparison.text()
    if options.quick or set(options.sections) != set(SECTIONS):
        print(text)
        return
    page = PAGE.read_text(encoding="utf-8")
    head, rest = page.split(BEGIN)
    PAGE.write_text(head + BEGIN + "\n" + text + "\n" + END + rest.split(END)[1], encoding="utf-8")


main()
