//! The emulator's arithmetic against NVIDIA's: ptxas computes instructions with constant operands itself, and `golden/fold.txt`
//! holds what it made of them, bit by bit.

use std::collections::BTreeMap;
use std::fmt::Write;

use gradus_emulator::{Launch, Memory, Module};

const HEAD: &str = "\
.version 7.8
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
";

struct Case {
    form: String,
    signature: String,
    args: Vec<u64>,
    expected: u64,
}

fn cases() -> Vec<Case> {
    let hex = |word: &str| u64::from_str_radix(word, 16).unwrap();
    let read = |line: &str| {
        let (left, expected) = line.split_once(" = ").unwrap();
        let mut words = left.split(' ');
        let (form, signature) = (words.next().unwrap().to_owned(), words.next().unwrap().to_owned());
        Case { form, signature, args: words.map(hex).collect(), expected: hex(expected) }
    };
    include_str!("golden/fold.txt").lines().skip(1).map(read).collect()
}

/// The type of a register and how its name begins.
fn register(kind: char) -> (&'static str, &'static str) {
    match kind {
        'h' => ("b16", "%h"),
        'f' => ("f32", "%f"),
        'l' => ("b64", "%l"),
        'd' => ("f64", "%d"),
        'p' => ("pred", "%p"),
        _ => ("b32", "%r"),
    }
}

/// The PTX of a case, which stores 8 bytes at `offset`.
fn write_case(text: &mut String, case: &Case, offset: usize) {
    let (into, result) = case.signature.split_once(':').unwrap();
    let result = result.chars().next().unwrap();
    let mut names = Vec::new();
    for (place, (kind, bits)) in into.chars().zip(&case.args).enumerate() {
        let (ty, prefix) = register(kind);
        let constant = match kind {
            'f' => format!("0f{bits:08X}"),
            'd' => format!("0d{bits:016X}"),
            _ => format!("0x{bits:x}"),
        };
        writeln!(text, "mov.{ty} {prefix}{place}, {constant};").unwrap();
        names.push(format!("{prefix}{place}"));
    }
    let prefix = register(result).1;
    writeln!(text, "{} {prefix}9, {};", case.form, names.join(", ")).unwrap();
    match result {
        'l' | 'd' => writeln!(text, "mov.b64 %l8, {prefix}9;"),
        'h' => writeln!(text, "cvt.u64.u16 %l8, %h9;"),
        'p' => writeln!(text, "selp.b64 %l8, 1, 0, %p9;"),
        _ => writeln!(text, "mov.b32 %r8, {prefix}9; cvt.u64.u32 %l8, %r8;"),
    }
    .unwrap();
    writeln!(text, "st.global.u64 [%out+{offset}], %l8;").unwrap();
}

#[test]
fn arithmetic_is_that_of_ptxas() {
    let cases = cases();
    let mut text = HEAD.to_owned();
    cases.iter().enumerate().for_each(|(at, case)| write_case(&mut text, case, 8 * at));
    text += "ret;\n}\n";
    let module = Module::parse(&text).unwrap();
    let mut memory = Memory::default();
    let out = memory.allocate(8 * cases.len() as u64).unwrap();
    let args: [&[u8]; 1] = [&out.to_le_bytes()];
    // With all lanes of a warp, and with some: the two are written in different ways.
    for threads in [32, 3] {
        let launch = Launch::new(&module, module.kernel("fold").unwrap(), [1; 3], [threads, 1, 1], &args).unwrap();
        launch.run(&mut memory).unwrap();
        compare(&cases, &memory, out);
    }
    assert!(cases.len() > 1500, "only {} cases were read", cases.len());
}

fn compare(cases: &[Case], memory: &Memory, out: u64) {
    let mut wrong: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for (at, case) in cases.iter().enumerate() {
        let mut bits = [0; 8];
        memory.read(out + 8 * at as u64, &mut bits).unwrap();
        let found = u64::from_le_bytes(bits);
        if found != case.expected {
            let text = format!("{:x?} is {:x}, not {found:x}", case.args, case.expected);
            wrong.entry(&case.form).or_default().push(text);
        }
    }
    let count: usize = wrong.values().map(Vec::len).sum();
    assert!(wrong.is_empty(), "{count} of {} cases are wrong: {wrong:#?}", cases.len());
}
