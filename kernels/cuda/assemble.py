#!/usr/bin/env python3
"""Assembles the PTX for every architecture with NVIDIA's ptxas, and fails where a kernel would be slow for a reason that shows.

    python3 -m venv /tmp/nvrtc
    /tmp/nvrtc/bin/pip install -r kernels/cuda/requirements.txt
    /tmp/nvrtc/bin/python kernels/cuda/assemble.py            # fails if report.csv would change
    /tmp/nvrtc/bin/python kernels/cuda/assemble.py --write    # writes it

What is found for the architectures of REPORTED stands in report.csv, which `gradus kernel show NAME --sass-report` prints. No GPU is needed, and nothing here is a time: registers and spills say how many blocks fit on a multiprocessor, and the machine code of
an inner loop says which share of its instructions multiply.
"""
import collections, concurrent.futures, glob, os, re, subprocess, sys, tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
# ptxas 12.9 is the last one for 7.0.
ARCHITECTURES = {70: "cuda_nvcc", **{arch: "cu13" for arch in (75, 80, 86, 89, 90, 100, 120)}}
# What must hold for a kernel from sm_75 on: the most registers, and the least share of the inner loop that multiplies; on tensor cores,
# that multiplies (HMMA) or loads matrices (LDSM). The shares are those of all instructions in the loop; kernels for ragged edges and for
# images jump over many of them, and rounding to tf32 takes three instructions for a number.
WANTED = {
    "matmul_128": (128, "FFMA", 0.88),
    "matmul_wide_nn": (128, "FFMA", 0.88),
    "matmul_wide_nt": (128, "FFMA", 0.88),
    "matmul_wide_tn": (128, "FFMA", 0.88),
    "matmul_64": (85, "FFMA", 0.55),
    "conv2d_tiles": (85, "FFMA", 0.3),
    "conv2d_tiles_grad_input": (85, "FFMA", 0.17),
    "conv2d_tiles_grad_weight": (85, "FFMA", 0.3),
    "matmul_bf16": (128, "HMMA", 0.5),
    "matmul_tf32": (128, "HMMA", 0.2),
}
# Those whose loop has loads narrower than 128 bits: at edges, and of single elements for tensor cores.
REPORTED = (80, 90)
NARROW = {"matmul_64", "conv2d_tiles", "conv2d_tiles_grad_input", "conv2d_tiles_grad_weight", "matmul_tf32"}

def tool(folder, name):
    for path in sys.path:
        if os.path.exists(f"{path}/nvidia/{folder}/bin/{name}"):
            return f"{path}/nvidia/{folder}/bin/{name}"
    sys.exit(f"{name} is not here: pip install -r kernels/cuda/requirements.txt")


def resources(report):
    """For each kernel: registers, bytes of spills, and bytes of shared memory."""
    found = {}
    for part in report.split("Compiling entry function '")[1:]:
        spills = sum(int(count) for count in re.findall(r"(\d+) bytes spill", part))
        shared = re.search(r"(\d+) bytes smem", part)
        registers = int(re.search(r"Used (\d+) registers", part).group(1))
        found[part.split("'")[0]] = registers, spills, int(shared.group(1)) if shared else 0
    return found


def inner_loop(sass, kernel, multiply):
    """The instructions of the loop that holds no other and multiplies most."""
    section = next(part for part in re.split(r"\n\s*\.section\s+", sass) if part.startswith(f".text.{kernel},"))
    instructions, labels, loops = [], {}, []
    for line in section.splitlines():
        label = re.match(r"(\.L_x_\d+):", line)
        if label:
            labels[label.group(1)] = len(instructions)
            continue
        match = re.search(r"/\*[0-9a-f]{4,5}\*/\s+(?:@!?U?P\w+\s+)?(\S+?)[\s;](.*)", line)
        # What is guarded by `@!PT` never runs: ptxas pads some barriers with it.
        if not match or "@!PT" in line:
            continue
        instructions.append(match.group(1))
        target = re.search(r"(\.L_x_\d+)", match.group(2)) if match.group(1).startswith("BRA") else None
        if target and target.group(1) in labels:
            loops.append((labels[target.group(1)], len(instructions)))
    loops = [(a, b) for a, b in loops if not any(a <= c and d < b for c, d in loops if (c, d) != (a, b))]
    start, end = max(loops, key=lambda loop: sum(name.startswith(multiply) for name in instructions[loop[0]:loop[1]]))
    return collections.Counter(re.match(r"[A-Z0-9]+", name).group(0) for name in instructions[start:end]), instructions[start:end]


def assemble(path, arch):
    """What is printed about a file for an architecture, what is wrong with it, and its rows of the report."""
    said, complaints, loops = [], [], {}
    with tempfile.NamedTemporaryFile(suffix=".cubin") as cubin:
        command = [tool(ARCHITECTURES[arch], "ptxas"), "-v", f"-arch=sm_{arch}", path, "-o", cubin.name]
        report = subprocess.run(command, capture_output=True, text=True)
        if report.returncode:
            return said, [f"{os.path.basename(path)} for sm_{arch}: {report.stderr.strip()}"], []
        used = resources(report.stderr)
        # The disassembler knows 7.5 and later.
        kernels = [name for name in WANTED if name in used and arch > 70]
        command = [tool("cu13", "nvdisasm"), "-c", cubin.name]
        sass = subprocess.run(command, capture_output=True, text=True).stdout if kernels else ""
    for name, (registers, spills, _) in used.items():
        if spills:
            complaints.append(f"{name} for sm_{arch} spills {spills} bytes")
    for name in kernels:
        most, multiply, least = WANTED[name]
        counts, loop = inner_loop(sass, name, multiply)
        loads = counts["LDSM"]
        share = (counts[multiply] + loads) / len(loop)
        narrow = [op for op in loop if re.match(r"LD[SG]($|\.)", op) and ".128" not in op]
        said.append(f"{name} sm_{arch}: {used[name][0]} registers, {used[name][1]} bytes of spills, "
                    f"inner loop of {len(loop)}: {share:.1%} {multiply}{' and LDSM' if loads else ''}, {len(narrow)} loads narrower than 128 bits")
        loops[name] = f"{len(loop)},{multiply},{counts[multiply]},{loads},{len(narrow)}"
        if used[name][0] > most or share < least or (narrow and name not in NARROW):
            complaints.append(f"{name} for sm_{arch}: at most {most} registers, {least:.0%} {multiply} and 128-bit loads are wanted")
    rows = [f"{name},{arch},{registers},{spills},{shared},{loops.get(name, ',,,,')}"
            for name, (registers, spills, shared) in sorted(used.items()) if arch in REPORTED]
    return said, complaints, rows


def main():
    lowest = lambda path: int(re.search(r"\.target sm_(\d+)", open(path).read()).group(1))
    paths = sorted(glob.glob(f"{HERE}/ptx/*.ptx"))
    jobs = [(path, arch) for path in paths for arch in ARCHITECTURES if arch >= lowest(path)]
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        answers = list(pool.map(lambda job: assemble(*job), jobs))
    for said, _, _ in answers:
        print("\n".join(said), end="\n" if said else "")
    complaints = [complaint for _, found, _ in answers for complaint in found]
    report = "kernel,arch,registers,spilled,shared,loop,multiply,multiplies,matrix_loads,narrow\n"
    report += "".join(f"{row}\n" for _, _, rows in answers for row in rows)
    path = f"{HERE}/report.csv"
    if "--write" in sys.argv:
        open(path, "w").write(report)
    elif not os.path.exists(path) or open(path).read() != report:
        complaints.append("report.csv is not what was found: run assemble.py --write")
    sys.exit("\n".join(complaints) or 0)


main()
