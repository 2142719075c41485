//! What the machine builds, refuses and survives.

use super::*;

fn refusal(bytes: &[u8]) -> String {
    run(bytes).unwrap_err()
}

#[test]
fn things_are_built_as_python_builds_them() {
    // pickle.dumps({"a": [1, -2, 300, (True, None, 2.5)]}, protocol=2)
    let bytes = b"\x80\x02}q\x00X\x01\x00\x00\x00aq\x01]q\x02(K\x01J\xfe\xff\xff\xffM\x2c\x01\x88NG@\x04\x00\x00\x00\x00\x00\x00\x87q\x03es.";
    let things = run(bytes).unwrap();
    let Thing::Dict(entries) = things.root() else { panic!("{things:?}") };
    assert_eq!(things.text(entries[0].0), Some("a"));
    let Thing::List(items) = things.get(entries[0].1) else { panic!("{things:?}") };
    let numbers: Vec<_> = items.iter().map(|&id| things.get(id).clone()).collect();
    assert!(matches!(numbers[..3], [Thing::Int(1), Thing::Int(-2), Thing::Int(300)]), "{numbers:?}");
    assert!(matches!(&numbers[3], Thing::Tuple(parts) if parts.len() == 3));
}

#[test]
fn what_is_no_tensor_is_refused_by_name() {
    // What os.system("echo hi") becomes: cposix\nsystem\n, a tuple, REDUCE.
    let bomb = b"\x80\x02cposix\nsystem\nX\x07\x00\x00\x00echo hi\x85R.";
    assert!(refusal(bomb).starts_with("it asks for posix.system, and only tensors are read"), "{}", refusal(bomb));
    // The same through STACK_GLOBAL, protocol 4.
    let bomb = b"\x80\x04\x8c\x08builtins\x8c\x04eval\x93.";
    assert!(refusal(bomb).starts_with("it asks for builtins.eval"));
    assert!(refusal(b"\x80\x02ctorch\nFloatStorages\n.").starts_with("it asks for torch.FloatStorages"));
    // NEWOBJ and INST make objects of classes.
    assert!(refusal(b"\x80\x02))\x81.").contains("the instruction 0x81"));
    assert!(refusal(b"(ios\nsystem\n.").contains("the instruction 0x69"));
    // A known function with arguments that it does not take.
    assert!(refusal(b"ccollections\nOrderedDict\n)\x85R.").starts_with("it calls OrderedDict with 1 arguments"));
}

#[test]
fn damage_is_told_and_nothing_runs_away() {
    assert!(refusal(b"").starts_with("truncated"));
    assert!(refusal(b"\x80\x02X\xff\xff\xff\xffab").starts_with("truncated"));
    assert!(refusal(b"\x8d\xff\xff\xff\xff\xff\xff\xff\xffa").starts_with("truncated"));
    for bytes in
        [&b"."[..], b"0.", b"t.", b"h\x07.", b"q\x00.", b"K\x01R.", b"]N\x86s.", b"(N0t1.", b"K\x01(0.", b"NQ."]
    {
        assert!(refusal(bytes).starts_with("damaged"), "{bytes:?}: {}", refusal(bytes));
    }
    // A million tuples inside each other, and a list that holds itself.
    let deep = [&b"N"[..], &vec![0x85; 1_000_000], b"."].concat();
    assert!(matches!(run(&deep).unwrap().root(), Thing::Tuple(_)));
    assert!(matches!(run(b"]q\x00h\x00a.").unwrap().root(), Thing::List(_)));
}

#[test]
fn every_way_to_cut_or_change_a_pickle_is_survived() {
    let whole = b"\x80\x02ccollections\nOrderedDict\nq\x00)Rq\x01X\x01\x00\x00\x00wq\x02ctorch._utils\n_rebuild_tensor_v2\nq\x03((X\x07\x00\x00\x00storageq\x04ctorch\nFloatStorage\nq\x05X\x01\x00\x00\x000q\x06X\x03\x00\x00\x00cpuq\x07K\x06tq\x08QK\x00K\x02K\x03\x86q\x09K\x03K\x01\x86q\x0a\x89h\x00)Rq\x0btq\x0cRq\x0ds.";
    let things = run(whole).unwrap();
    let Thing::Dict(entries) = things.root() else { panic!("{things:?}") };
    let Thing::Tensor(tensor) = things.get(entries[0].1) else { panic!("{things:?}") };
    assert_eq!((tensor.shape.as_slice(), tensor.strides.as_slice(), tensor.offset), (&[2, 3][..], &[3, 1][..], 0));
    let Storage { number, key, count } = tensor.storage;
    assert_eq!((things.text(key), count, number), (Some("0"), 6, Number::F32));
    for cut in 0..whole.len() {
        assert!(run(&whole[..cut]).is_err());
    }
    for place in 0..whole.len() {
        for value in 0..=255 {
            let mut changed = whole.to_vec();
            changed[place] = value;
            _ = run(&changed);
        }
    }
}
