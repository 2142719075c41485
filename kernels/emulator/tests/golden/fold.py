#!/usr/bin/env python3
"""Writes fold.txt: what NVIDIA's ptxas makes of PTX instructions whose operands are constants.

ptxas -O3 computes such instructions itself and stores the result as a constant, which is read back from the machine code.
So the table holds NVIDIA's own arithmetic, bit by bit, though no GPU ran. Forms that ptxas leaves to the GPU are left out, and
so are div, sqrt and rcp with .rn: they become code with branches, of which the reader here sees only parts. IEEE 754 says what
they give.

    python3 -m venv /tmp/fold
    /tmp/fold/bin/pip install nvidia-cuda-nvcc-cu12==12.9.86 nvidia-cuda-nvdisasm==13.5.37
    /tmp/fold/bin/python kernels/emulator/tests/golden/fold.py
"""
import glob, os, random, re, struct, subprocess, sys, tempfile

FORMS = """
add.s16 hh:h sub.s16 hh:h mul.lo.s16 hh:h min.s16 hh:h max.u16 hh:h
add.s32 ii:i sub.s32 ii:i mul.lo.u32 ii:i mul.hi.u32 ii:i mul.hi.s32 ii:i mad.lo.s32 iii:i mad.hi.u32 iii:i
div.s32 iz:i div.u32 iz:i rem.s32 iz:i rem.u32 iz:i min.s32 ii:i max.s32 ii:i min.u32 ii:i max.u32 ii:i neg.s32 i:i abs.s32 i:i
and.b32 ii:i or.b32 ii:i xor.b32 ii:i not.b32 i:i shl.b32 is:i shr.u32 is:i shr.s32 is:i
popc.b32 i:i clz.b32 i:i brev.b32 i:i bfe.u32 iss:i bfe.s32 iss:i bfi.b32 iiss:i prmt.b32 iim:i
shf.l.wrap.b32 iis:i shf.r.wrap.b32 iis:i shf.l.clamp.b32 iis:i shf.r.clamp.b32 iis:i
add.s64 ll:l sub.s64 ll:l mul.lo.s64 ll:l mul.hi.u64 ll:l mul.hi.s64 ll:l and.b64 ll:l xor.b64 ll:l not.b64 l:l neg.s64 l:l
shl.b64 ls:l shr.u64 ls:l shr.s64 ls:l min.s64 ll:l max.u64 ll:l popc.b64 l:i clz.b64 l:i
mul.wide.u32 ii:l mul.wide.s32 ii:l mad.wide.s32 iil:l mad.wide.u32 iil:l mul.wide.s16 hh:i mul.wide.u16 hh:i
add.f32 ff:f sub.f32 ff:f mul.f32 ff:f fma.rn.f32 fff:f min.f32 ff:f max.f32 ff:f neg.f32 f:f abs.f32 f:f
add.rz.f32 ff:f add.rm.f32 ff:f add.rp.f32 ff:f sub.rz.f32 ff:f mul.rz.f32 ff:f mul.rm.f32 ff:f mul.rp.f32 ff:f fma.rm.f32 fff:f
min.NaN.f32 ff:f max.NaN.f32 ff:f copysign.f32 ff:f
ex2.approx.f32 f:f ex2.approx.ftz.f32 f:f lg2.approx.f32 f:f lg2.approx.ftz.f32 f:f rcp.approx.ftz.f32 f:f rsqrt.approx.f32 f:f
sqrt.approx.f32 f:f sin.approx.f32 f:f cos.approx.f32 f:f tanh.approx.f32 f:f
add.f64 dd:d sub.f64 dd:d mul.f64 dd:d fma.rn.f64 ddd:d neg.f64 d:d abs.f64 d:d min.f64 dd:d max.f64 dd:d
cvt.rni.s32.f32 f:i cvt.rzi.s32.f32 f:i cvt.rmi.s32.f32 f:i cvt.rpi.s32.f32 f:i cvt.rzi.u32.f32 f:i cvt.rzi.s64.f32 f:l cvt.rzi.u64.f32 f:l
cvt.rni.f32.f32 f:f cvt.rmi.f32.f32 f:f cvt.rpi.f32.f32 f:f cvt.rzi.f32.f32 f:f cvt.sat.f32.f32 f:f
cvt.rn.f32.s32 i:f cvt.rn.f32.u32 i:f cvt.rn.f32.s64 l:f cvt.rn.f32.u64 l:f cvt.rn.f64.s32 i:d cvt.rn.f64.s64 l:d
cvt.f64.f32 f:d cvt.rn.f32.f64 d:f cvt.rzi.s32.f64 d:i cvt.rzi.s64.f64 d:l cvt.rzi.f64.f64 d:d
cvt.s64.s32 i:l cvt.u64.u32 i:l cvt.u32.u64 l:i cvt.s32.s8 i:i cvt.s32.s16 i:i cvt.u32.u8 i:i cvt.u32.u16 i:i
cvt.rn.bf16x2.f32 ff:i cvt.rna.tf32.f32 f:i cvt.rn.bf16.f32 f:h cvt.rn.f16.f32 f:h cvt.f32.f16 h:f
setp.lt.s32 ii:p setp.lt.u32 ii:p setp.eq.s32 ii:p setp.lt.f32 ff:p setp.ltu.f32 ff:p setp.neu.f32 ff:p setp.ne.f32 ff:p
setp.equ.f32 ff:p setp.geu.f32 ff:p setp.nan.f32 ff:p setp.num.f32 ff:p setp.ge.s64 ll:p setp.lt.f64 dd:p setp.gtu.f64 dd:p
""".split()
REGISTER = {"h": ("b16", "%h"), "i": ("b32", "%r"), "f": ("f32", "%f"), "l": ("b64", "%l"), "d": ("f64", "%d"), "p": ("pred", "%p")}
KIND = {"z": "i", "s": "i", "m": "i"}
CASES = 16


def bits32(x):
    return struct.unpack("<I", struct.pack("<f", x))[0]


def bits64(x):
    return struct.unpack("<Q", struct.pack("<d", x))[0]


def argument(kind):
    """Bits of an operand: small numbers, any numbers, and the ends of the range."""
    if kind == "f":
        special = [0, 0x80000000, 0x3F800000, 0x7F800000, 0xFF800000, 0x7FC00000, 1, 0x80000001, 0x00400000, 0x7F7FFFFF]
        return random.choice([bits32(random.uniform(-8, 8)), bits32(random.uniform(-1e9, 1e9)), random.getrandbits(32), random.choice(special)])
    if kind == "d":
        special = [0, 1 << 63, bits64(1.0), bits64(float("inf")), bits64(2.0**31), bits64(-(2.0**63))]
        return random.choice([bits64(random.uniform(-8, 8)), bits64(random.uniform(-1e12, 1e12)), random.choice(special)])
    if kind == "m":
        return random.getrandbits(16) & 0x7777
    if kind == "s":
        return random.choice([random.randrange(33), random.randrange(64), 0, 32])
    width = {"h": 16, "l": 64}.get(kind, 32)
    value = random.choice([random.getrandbits(width), random.getrandbits(5), 0, (1 << width) - 1, 1 << (width - 1)])
    return value or 3 if kind == "z" else value


def constant(kind, bits):
    return {"f": "0f%08X", "d": "0d%016X"}.get(kind, "0x%x") % bits


def lines(form, signature, args, offset):
    """The PTX of a case: `tests/folds.rs` writes the same."""
    into, result = signature.split(":")
    names = []
    for place, (kind, bits) in enumerate(zip(into, args)):
        kind = KIND.get(kind, kind)
        ty, prefix = REGISTER[kind]
        names.append(f"{prefix}{place}")
        yield f"mov.{ty} {prefix}{place}, {constant(kind, bits)};"
    _, prefix = REGISTER[result]
    yield f"{form} {prefix}9, {', '.join(names)};"
    if result in "ld":
        yield f"mov.b64 {{%r7, %r8}}, {prefix}9;"
        yield f"st.global.u32 [%out+{offset}], %r7;"
        yield f"st.global.u32 [%out+{offset + 4}], %r8;"
        return
    if result == "h":
        yield "cvt.u32.u16 %r9, %h9;"
    elif result == "p":
        yield "selp.u32 %r9, 1, 0, %p9;"
    yield f"st.global.{'f32' if result == 'f' else 'u32'} [%out+{offset}], {'%f9' if result == 'f' else '%r9'};"


HEAD = """.version 7.8
.target sm_80
.address_size 64
.visible .entry fold(.param .u64 out)
{
.reg .b16 %h<10>;
.reg .b32 %r<10>;
.reg .f32 %f<10>;
.reg .b64 %l<10>;
.reg .f64 %d<10>;
.reg .pred %p<10>;
.reg .b64 %out;
ld.param.u64 %out, [out];
"""


def stored(sass):
    """Constants that the machine code stores: offset to bits."""
    registers, found = {"RZ": 0}, {}

    def immediate(text):
        text = text.strip()
        if re.fullmatch(r"-?0x[0-9a-f]+", text):
            return int(text, 16) & 0xFFFFFFFF
        return 0 if text in ("RZ", "URZ") else None

    for line in sass.splitlines():
        match = re.search(r"\*/\s+(.*?)\s*;", line)
        if not match:
            continue
        text, guarded = match.group(1), match.group(1).startswith("@")
        text = re.sub(r"^@!?\w+\s+", "", text)
        op, _, rest = text.partition(" ")
        args = [arg.strip().replace(".reuse", "") for arg in rest.split(",")]
        if op.startswith("STG"):
            match = re.match(r"(?:desc\[.*?\])?\[R\d+\.64(?:\+(-?0x[0-9a-f]+))?\]", args[0])
            value = registers.get(args[1])
            if match and value is not None and not guarded:
                found[int(match.group(1) or "0", 16)] = value
            continue
        if not re.fullmatch(r"U?R\d+", args[0]):
            continue
        value = None
        if op in ("MOV", "UMOV"):
            value = immediate(args[1])
        elif op == "IMAD.MOV.U32" and args[1:3] == ["RZ", "RZ"]:
            value = immediate(args[3])
        elif op == "CS2R" and args[1] == "SRZ":
            registers["R%d" % (int(args[0][1:]) + 1)] = value = 0
        elif op.startswith("HFMA2") and args[1:3] == ["-RZ", "RZ"]:
            # Two half floats, the way ptxas moves some constants.
            try:
                high, low = (struct.unpack("<H", struct.pack("<e", float(arg)))[0] for arg in args[3:5])
                value = high << 16 | low
            except (ValueError, OverflowError):
                pass
        registers[args[0]] = None if guarded else value
    return found


def main():
    random.seed(7)
    site = glob.glob(os.path.join(sys.prefix, "lib/python3*/site-packages/nvidia"))[0]
    ptxas = glob.glob(site + "/cuda_nvcc/bin/ptxas")[0]
    nvdisasm = [path for path in glob.glob(site + "/*/bin/nvdisasm")][0]
    cases, body, offset = [], [], 0
    for form, signature in zip(FORMS[::2], FORMS[1::2]):
        for _ in range(CASES):
            args = [argument(kind) for kind in signature.split(":")[0]]
            body += lines(form, signature, args, offset)
            cases.append((form, signature, args, offset))
            offset += 8
    with tempfile.TemporaryDirectory() as folder:
        with open(folder + "/fold.ptx", "w") as file:
            file.write(HEAD + "\n".join(body) + "\nret;\n}\n")
        subprocess.check_call([ptxas, "-O3", "-arch=sm_80", folder + "/fold.ptx", "-o", folder + "/fold.cubin"])
        sass = subprocess.run([nvdisasm, "-c", folder + "/fold.cubin"], capture_output=True, text=True, check=True).stdout
    found = stored(sass)
    table = ["# form, operands:result, operands, result; made by fold.py with ptxas 12.9.86 for sm_80"]
    kept = set()
    for form, signature, args, offset in cases:
        words = [found.get(offset)] + ([found.get(offset + 4)] if signature[-1] in "ld" else [])
        if None in words:
            continue
        result = sum(word << 32 * place for place, word in enumerate(words))
        table.append(f"{form} {signature} {' '.join('%x' % arg for arg in args)} = {result:x}")
        kept.add(form)
    with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "fold.txt"), "w") as file:
        file.write("\n".join(table) + "\n")
    missing = [form for form in FORMS[::2] if form not in kept]
    print(f"{len(table) - 1} of {len(cases)} cases, {len(kept)} of {len(FORMS) // 2} forms; not folded: {' '.join(missing)}")


main()
