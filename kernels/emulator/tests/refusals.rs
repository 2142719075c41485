//! What the reader does not know in full is refused, with its line, and never skipped.

mod common;

use common::{line_of, module};
use gradus_emulator::{Module, ParseError};

fn refusal(text: &str) -> ParseError {
    Module::parse(text).err().unwrap_or_else(|| panic!("this was read:\n{text}"))
}

#[test]
fn unknown_instructions_and_modifiers_are_refused() {
    let known = [
        "add.f32 %f0, %f1, %f2;",
        "ld.global.nc.v4.f32 {%f0, %f1, %f2, %f3}, [%x];",
        "cvt.rn.f32.s32 %f0, %r0;",
        "membar.gl;",
        "fence.acq_rel.gpu;",
    ];
    for instruction in known {
        Module::parse(&module(instruction)).unwrap();
    }
    let unknown = [
        "add.sat.f32 %f0, %f1, %f2;",
        "add.ftz.f32 %f0, %f1, %f2;",
        "add.f16 %h0, %h1, %h2;",
        "addc.u32 %r0, %r1, %r2;",
        "mul.s32 %r0, %r1, %r2;",
        "ld.global.relaxed.f32 %f0, [%x];",
        "ld.global.v3.f32 {%f0, %f1, %f2}, [%x];",
        "ld.global.v4.f64 {%l0, %l1, %l2, %l3}, [%x];",
        "cvt.f32.s32 %f0, %r0;",
        "cvt.rz.f32.s32 %f0, %r0;",
        "cvt.rni.ftz.s32.f32 %r0, %f0;",
        "setp.lo.f32 %p0, %f0, %f1;",
        "setp.lt.b32 %p0, %r0, %r1;",
        "shfl.bfly.b32 %r0, %r1, 1, 31;",
        "bar.sync 1;",
        "bar.arrive 0, 64;",
        "atom.global.add.f16 %h0, [%x], %h1;",
        "atom.acquire.global.add.u32 %r0, [%x], %r1;",
        "mma.sync.aligned.m16n8k8.row.col.f32.bf16.bf16.f32 {%f0,%f1,%f2,%f3}, {%r0,%r1}, {%r2}, {%f0,%f1,%f2,%f3};",
        "membar;",
        "fence.proxy.async;",
        "call.uni helper;",
        "trap;",
    ];
    for instruction in unknown {
        let text = module(instruction);
        let error = refusal(&text);
        assert_eq!(error.line, line_of(&text, instruction), "{error}");
        let name = instruction.split([' ', ';']).next().unwrap();
        assert!(error.reason.contains(name) || error.reason.contains("barrier 0"), "{error}");
    }
}

#[test]
fn operands_of_the_wrong_kind_are_refused() {
    let wrong = [
        ("add.u32 %r0, %l1, %r2;", "%l1 does not have the size of U32"),
        ("add.u64 %l0, %l1, %r2;", "%r2 does not have the size of U64"),
        ("add.u32 %r0, %r1;", "an operand is missing"),
        ("add.u32 %r0, %r1, %r2, %r3;", "%r3 is one operand too many"),
        ("add.u32 %r0, %r1, %q;", "nothing is called %q"),
        ("add.f32 %f0, %f1, 5;", "5 is no float"),
        ("add.f32 %f0, %f1, 0d3FF0000000000000;", "is of another size"),
        ("@%r0 bra $end;", "%r0 is no predicate"),
        ("bra $nowhere;", "there is no label $nowhere"),
        ("ld.param.u64 %l0, [z];", "there is no parameter z"),
        ("ld.global.u32 %r0, %x;", "%x is no address in brackets"),
        ("ld.global.v2.u32 {%r0}, [%x];", "2 elements stand in the braces, not 1"),
        ("mov.b64 %l0, {%r0, %r1, %r2};", "B64 has no 3 parts"),
        ("cp.async.cg.shared.global [%r0], [%x], 8;", "copies [16] bytes, not 8"),
    ];
    for (instruction, reason) in wrong {
        let text = module(instruction);
        let error = refusal(&text);
        assert_eq!(error.line, line_of(&text, instruction), "{error}");
        assert!(error.reason.contains(reason), "{error}");
    }
}

#[test]
fn text_that_is_no_ptx_is_refused() {
    assert!(refusal("").reason.contains("no .version"));
    assert!(refusal("hello").reason.contains("ends within a statement"));
    assert!(refusal("hello;").reason.contains("does not know this directive"));
    assert!(refusal("/* no end").reason.contains("a comment without an end"));
    assert!(refusal(".version 7.8\n.address_size 32\n").reason.contains("does not know this directive"));
    let cut = module("ret;").replace("ret;\n}", "");
    assert!(refusal(&cut).reason.contains("ends within the kernel"));
    let twice = module("$a:\n$a:\nret;");
    assert!(refusal(&twice).reason.contains("stands twice"));
    let large = ".version 7.8\n.global .align 4 .b8 huge[99999999999];\n";
    assert!(refusal(large).reason.contains("larger than 1 GiB"));
    let many = module(".reg .b32 %q<70000>;");
    assert!(refusal(&many).reason.contains("70000 registers"));
}

#[test]
fn any_damage_to_a_module_is_an_error_or_a_module() {
    // Bytes are lost, doubled or changed at every place: the reader must answer, not panic.
    let text = module("setp.lt.u32 %p0, %t, 8;\n@%p0 bra $end;\nld.global.v2.f32 {%f0, %f1}, [%x+8];\n$end:\nret;");
    for at in 0..text.len() {
        for damage in [
            text[..at].to_owned(),
            format!("{}{}", &text[..at], &text[at + 1..]),
            format!("{}{}", &text[..at], &text[at..].replacen(|_| true, "{", 1)),
        ] {
            let _ = Module::parse(&damage);
        }
    }
}
