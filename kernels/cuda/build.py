#!/usr/bin/env python3
"""Compiles the kernels to PTX with NVRTC 11.8, which needs no GPU and no driver.

    python3 -m venv /tmp/nvrtc
    /tmp/nvrtc/bin/pip install -r kernels/cuda/requirements.txt
    /tmp/nvrtc/bin/python kernels/cuda/build.py            # writes ptx/*.ptx
    /tmp/nvrtc/bin/python kernels/cuda/build.py --check    # compares, and fails if a file would change
    /tmp/nvrtc/bin/python kernels/cuda/build.py mine.cu    # writes mine.ptx, for `gradus kernel run mine.ptx --emulate`

The compiler decides between equals by their addresses in its memory, which differ from run to run, and so may the numbers of registers.
A file is up to date if one of many runs gives its bytes.

An old compiler on purpose: a driver loads PTX of its own time or older, and this one's asks for nothing newer than the driver of
CUDA 11.8. Each file says in its second line which sources it was made from.
"""
import ctypes, glob, hashlib, os, sys

HERE = os.path.dirname(os.path.abspath(__file__))
# Kernels that need instructions of compute capability 8.0.
NEWER = {"matmul_tensor"}
# How many runs are tried before a file counts as changed.
RUNS = 20


def load_nvrtc():
    folders = [f"{path}/nvidia/cuda_nvrtc/lib" for path in sys.path]
    for folder in folders:
        if os.path.exists(f"{folder}/libnvrtc.so.11.2"):
            ctypes.CDLL(f"{folder}/libnvrtc-builtins.so.11.8", mode=ctypes.RTLD_GLOBAL)
            return ctypes.CDLL(f"{folder}/libnvrtc.so.11.2")
    sys.exit("NVRTC 11.8 is not here: pip install nvidia-cuda-nvrtc-cu11==11.8.89")


def compile_source(nvrtc, name, source, header):
    program = ctypes.c_void_p()
    headers, names = (ctypes.c_char_p * 1)(header), (ctypes.c_char_p * 1)(b"common.h")
    result = nvrtc.nvrtcCreateProgram(ctypes.byref(program), source, f"/{name}.cu".encode(), 1, headers, names)
    assert result == 0, result
    target = "compute_80" if name in NEWER else "compute_70"
    options = [f"--gpu-architecture={target}", "-std=c++17", "-lineinfo"]
    values = (ctypes.c_char_p * len(options))(*(option.encode() for option in options))
    result = nvrtc.nvrtcCompileProgram(program, len(options), values)
    size = ctypes.c_size_t()
    nvrtc.nvrtcGetProgramLogSize(program, ctypes.byref(size))
    log = ctypes.create_string_buffer(size.value)
    nvrtc.nvrtcGetProgramLog(program, log)
    if log.value.strip():
        print(log.value.decode())
    if result != 0:
        sys.exit(f"{name}.cu does not compile")
    nvrtc.nvrtcGetPTXSize(program, ctypes.byref(size))
    ptx = ctypes.create_string_buffer(size.value)
    nvrtc.nvrtcGetPTX(program, ptx)
    return ptx.value


def main():
    nvrtc = load_nvrtc()
    header = open(f"{HERE}/common.h", "rb").read()
    own = [os.path.abspath(path) for path in sys.argv[1:] if not path.startswith("--")]
    for path in own:
        name, ending = os.path.splitext(path)
        if ending != ".cu":
            sys.exit(f"{path} is no .cu file")
        ptx = compile_source(nvrtc, os.path.basename(name), open(path, "rb").read(), header)
        open(f"{name}.ptx", "wb").write(ptx)
    if own:
        return
    os.makedirs(f"{HERE}/ptx", exist_ok=True)
    # Paths in the PTX start where the compiler runs.
    os.chdir("/")
    stale = []
    # The families of a further run, and its number.
    doubtful, run = os.environ.get("GRADUS_DOUBTFUL", "").split(), int(os.environ.get("GRADUS_RUN", "1"))
    for path in sorted(glob.glob(f"{HERE}/*.cu")):
        name = os.path.basename(path)[:-3]
        if doubtful and name not in doubtful:
            continue
        source = open(path, "rb").read()
        digest = hashlib.sha256(header + source).hexdigest()
        lead = f"// Made by kernels/cuda/build.py with NVRTC 11.8.89; do not edit.\n// sources: sha256 {digest} of common.h and {name}.cu\n"
        ptx = lead.encode() + compile_source(nvrtc, name, source, header)
        into = f"{HERE}/ptx/{name}.ptx"
        old = open(into, "rb").read() if os.path.exists(into) else b""
        if old != ptx:
            stale.append(name)
            # The first run that differs may differ by luck.
            if "--check" not in sys.argv and run == RUNS:
                open(into, "wb").write(ptx)
    if stale and run < RUNS:
        os.environ.update(GRADUS_DOUBTFUL=" ".join(stale), GRADUS_RUN=str(run + 1))
        os.execv(sys.executable, [sys.executable, os.path.abspath(__file__), *sys.argv[1:]])
    print("changed: " + " ".join(stale) if stale else "all is up to date")
    sys.exit(1 if stale and "--check" in sys.argv else 0)


main()
