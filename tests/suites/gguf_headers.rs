//! GGUF headers: files of the official writer, every model of the vectors, split files, and their models.
#![allow(clippy::panic, clippy::expect_used, clippy::unwrap_used)]

use std::{fs, path::Path};

use llm_vram_core::{
    ErrorKind, Model,
    input::{
        InputKind, ReadError, detect,
        gguf::{self, ByteOrder, Header, Value},
    },
    model::{Attention, CacheSource, Group, Recurrence, Span},
};
use llm_vram_tests::{
    gguf_writer::{GgufWriter, Kv},
    records,
};

const FIXTURES: [&str; 10] = [
    "llama-v3-le.gguf",
    "llama-v3-be.gguf",
    "llama-v2-le.gguf",
    "hybrid-le.gguf",
    "hybrid-be.gguf",
    "window-pattern.gguf",
    "values-le.gguf",
    "values-be.gguf",
    "vocab-only.gguf",
    "mmproj.gguf",
];

fn fixture(name: &str) -> Vec<u8> {
    fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(name)).expect(name)
}

#[test]
fn files_of_the_official_writer_are_read_whole() {
    for name in FIXTURES {
        let bytes = fixture(name);
        assert_eq!(detect(&bytes), InputKind::Gguf, "{name}");
        let header = gguf::read(&bytes).expect(name);
        assert_eq!(header.header_bytes().get(), bytes.len() as u64, "{name}: the header is the whole file");
        // The writer's offsets are the running sum of padded sizes: equal to ours, or a warning would say so.
        assert_eq!(header.warnings(), [], "{name}");
        let expected = if name.contains("-be") { ByteOrder::Big } else { ByteOrder::Little };
        assert_eq!(header.byte_order(), expected, "{name}");
        assert_eq!(header.version(), if name.contains("-v2") { 2 } else { 3 }, "{name}");
        assert_eq!(header.expected_file_bytes().get(), {
            let begin = if header.tensors().is_empty() { header.header_bytes() } else { header.header_bytes().align_up(32) };
            begin.get() + header.tensors().iter().map(|tensor| tensor.bytes.align_up(32).get()).sum::<u64>()
        });
    }
    println!("{} files of the official writer read whole", FIXTURES.len());
}

#[test]
fn byte_orders_and_versions_say_the_same() {
    for [one, other] in [
        ["llama-v3-le.gguf", "llama-v3-be.gguf"],
        ["llama-v3-le.gguf", "llama-v2-le.gguf"],
        ["hybrid-le.gguf", "hybrid-be.gguf"],
        ["values-le.gguf", "values-be.gguf"],
    ] {
        let (one, other) = (fixture(one), fixture(other));
        let (one, other) = (gguf::read(&one).unwrap(), gguf::read(&other).unwrap());
        assert_eq!(one.tensors(), other.tensors());
        for ((key, a), (_, b)) in one.metadata().iter().zip(other.metadata()) {
            match (a, b) {
                (Value::Array(a), Value::Array(b)) => {
                    assert_eq!((a.element(), a.len()), (b.element(), b.len()), "{key}");
                    assert_eq!(a.scalars().collect::<Vec<_>>(), b.scalars().collect::<Vec<_>>(), "{key}");
                }
                _ => assert_eq!(a, b, "{key}"),
            }
        }
    }
}

#[test]
fn every_value_type() {
    let bytes = fixture("values-be.gguf");
    let header = gguf::read(&bytes).unwrap();
    let value = |key: &str| *header.get(key).expect(key);
    assert_eq!(value("t.u8"), Value::Unsigned(200));
    assert_eq!(value("t.i8"), Value::Signed(-100));
    assert_eq!(value("t.u16"), Value::Unsigned(60_000));
    assert_eq!(value("t.i16"), Value::Signed(-30_000));
    assert_eq!(value("t.u32"), Value::Unsigned(4_000_000_000));
    assert_eq!(value("t.i32"), Value::Signed(-2_000_000_000));
    assert_eq!(value("t.u64"), Value::Unsigned(1 << 60));
    assert_eq!(value("t.i64"), Value::Signed(-(1 << 60)));
    assert_eq!(value("t.f32"), Value::Float(1.5));
    assert_eq!(value("t.f64"), Value::Float(-2.25));
    assert_eq!(value("t.bool"), Value::Bool(true));
    assert_eq!(value("t.string").as_str(), Some("grüße"));
    let list = |key: &str| match value(key) {
        Value::Array(array) => array.scalars().map(|value| value.as_integer()).collect::<Vec<_>>(),
        other => panic!("{other:?}"),
    };
    assert_eq!(list("t.integers"), [Some(1), Some(-2), Some(3)]);
    assert_eq!(list("t.flags"), [Some(1), Some(0), Some(1)]);
    assert_eq!(list("t.bytes"), [Some(1), Some(2), Some(255)]);
    assert!(matches!(value("t.strings"), Value::Array(array) if array.len() == 3));
    assert_eq!(header.get("t.none"), None);
}

/// The harness's writer, which the other tests rely on, writes what the official one does.
#[test]
fn harness_writer_equals_the_official_one() {
    let ints = |values: &[i32]| Kv::List(5, values.iter().map(|&value| Kv::I32(value)).collect());
    for (name, big) in [("values-le.gguf", false), ("values-be.gguf", true)] {
        let ours = GgufWriter::new()
            .format(3, big)
            .kv("general.architecture", Kv::Text("llama".into()))
            .kv("t.u8", Kv::U8(200))
            .kv("t.i8", Kv::I8(-100))
            .kv("t.u16", Kv::U16(60_000))
            .kv("t.i16", Kv::I16(-30_000))
            .kv("t.u32", Kv::U32(4_000_000_000))
            .kv("t.i32", Kv::I32(-2_000_000_000))
            .kv("t.u64", Kv::U64(1 << 60))
            .kv("t.i64", Kv::I64(-(1 << 60)))
            .kv("t.f32", Kv::F32(1.5))
            .kv("t.f64", Kv::F64(-2.25))
            .kv("t.bool", Kv::Bool(true))
            .kv("t.string", Kv::Text("grüße".into()))
            .kv("t.integers", ints(&[1, -2, 3]))
            .kv("t.floats", Kv::List(6, vec![Kv::F32(0.5), Kv::F32(0.25)]))
            .kv("t.flags", Kv::List(7, vec![Kv::Bool(true), Kv::Bool(false), Kv::Bool(true)]))
            .kv("t.strings", Kv::List(8, ["a", "", "ccc"].map(|text| Kv::Text(text.into())).to_vec()))
            .kv("t.bytes", Kv::List(0, vec![Kv::U8(1), Kv::U8(2), Kv::U8(255)]));
        assert_eq!(ours.bytes(), fixture(name), "{name}");
    }
    let ours = GgufWriter::new()
        .kv("general.architecture", Kv::Text("clip".into()))
        .kv("general.type", Kv::Text("mmproj".into()))
        .kv("clip.has_vision_encoder", Kv::Bool(true))
        .kv("clip.vision.embedding_length", Kv::U32(64))
        .kv("clip.vision.block_count", Kv::U32(1))
        .tensor("v.patch_embd.weight", &[14, 14, 3, 64], 1, 0)
        .tensor("v.blk.0.attn_q.weight", &[64, 64], 1, 14 * 14 * 3 * 64 * 2)
        .tensor("mm.0.weight", &[64, 256], 1, 14 * 14 * 3 * 64 * 2 + 64 * 64 * 2);
    assert_eq!(ours.bytes(), fixture("mmproj.gguf"));
}

#[test]
fn every_beginning_asks_for_more_and_never_for_too_much() {
    let mut prefixes = 0;
    for name in FIXTURES {
        let bytes = fixture(name);
        for end in 0..bytes.len() {
            match Header::read(&bytes[..end], None) {
                Err(ReadError::NeedMoreBytes { at_least, .. }) => {
                    assert!(at_least > end as u64 && at_least <= bytes.len() as u64, "{name}: {at_least} at {end}");
                }
                other => panic!("{name} cut at {end}: {other:?}"),
            }
            let known = Header::read(&bytes[..end], Some(end as u64)).map_err(llm_vram_core::Error::from);
            assert_eq!(known.unwrap_err().kind(), ErrorKind::Truncated, "{name} cut at {end}");
            prefixes += 1;
        }
    }
    println!("{prefixes} beginnings of headers ask for more bytes");
    assert!(prefixes > 15_000);
}

#[test]
fn a_file_that_ends_within_its_tensors_is_truncated() {
    let bytes = fixture("llama-v3-le.gguf");
    let whole = gguf::read(&bytes).unwrap().expected_file_bytes().get();
    assert!(Header::read(&bytes, Some(whole)).is_ok());
    let error = llm_vram_core::Error::from(Header::read(&bytes, Some(whole - 64)).unwrap_err());
    assert_eq!(error.kind(), ErrorKind::Truncated);
}

#[test]
fn plain_model() {
    let bytes = fixture("llama-v3-be.gguf");
    let header = gguf::read(&bytes).unwrap();
    assert_eq!(header.file_type(), Some("Q4_K_M"));
    let model = header.model().unwrap();
    let hp = model.hyperparameters();
    assert_eq!((hp.architecture.as_str(), hp.name.as_str(), hp.vocab_size), ("llama", "Small Llama", 512));
    assert!(!hp.facts.tied && !hp.facts.qkv_bias);
    assert_eq!(model.warnings(), []);
    let stored: u64 = model.tensors().iter().filter_map(|tensor| tensor.stored.as_ref()).map(|stored| stored.bytes.get()).sum();
    assert_eq!(stored, header.tensor_bytes().get());
    let Attention::Heads(heads) = model.blocks()[1].attention else { panic!() };
    assert_eq!((heads.head_count, heads.head_count_kv, heads.key_length, heads.span), (8, 2, 32, Span::Full));
}

#[test]
fn arrays_by_layer() {
    let bytes = fixture("hybrid-be.gguf");
    let model = gguf::read(&bytes).unwrap().model().unwrap();
    let kinds: Vec<_> = model.blocks().iter().map(|block| block.recurrent.map(|recurrent| recurrent.kind)).collect();
    let mamba = Some(Recurrence::Mamba2);
    assert_eq!(kinds, [mamba, mamba, None, mamba]);
    let facts = &model.hyperparameters().facts;
    assert!(facts.tied && facts.conv_bias);

    let bytes = fixture("window-pattern.gguf");
    let model = gguf::read(&bytes).unwrap().model().unwrap();
    let heads: Vec<_> = model
        .blocks()
        .iter()
        .map(|block| match block.attention {
            Attention::Heads(heads) => (heads.head_count_kv, heads.key_length, heads.span, heads.cache),
            other => panic!("{other:?}"),
        })
        .collect();
    let (window, full) = (Span::Sliding(512), Span::Full);
    let own = CacheSource::Own;
    assert_eq!(heads[..4], [(2, 32, window, own), (2, 32, window, own), (1, 64, full, own), (2, 32, window, own)]);
    assert_ne!((heads[4].3, heads[5].3), (own, own));
    let facts = &model.hyperparameters().facts;
    assert!(facts.kv_on_shared && !facts.v_on_full && facts.layer_scale && facts.rope_freqs && facts.tied);
}

#[test]
fn other_contents_are_named() {
    let kind = |name: &str| gguf::read(&fixture(name)).unwrap().model().unwrap_err();
    assert_eq!(kind("vocab-only.gguf").kind(), ErrorKind::MissingField);
    assert_eq!(kind("adapter.gguf").kind(), ErrorKind::Unsupported);
    let projector = kind("mmproj.gguf");
    assert_eq!(projector.message(), "the file holds a vision or audio projector, no language model");

    let (text, tower) = (fixture("llama-v3-le.gguf"), fixture("mmproj.gguf"));
    let (text, tower) = (gguf::read(&text).unwrap(), gguf::read(&tower).unwrap());
    let model = text.model_and_projectors(&[tower]).unwrap();
    assert_eq!(model.tensors().iter().filter(|tensor| tensor.group == Group::Tower).count(), 3);
}

#[test]
fn split_files_join_in_any_order() {
    let parts: Vec<Vec<u8>> = (1..=3).map(|part| fixture(&format!("split-0000{part}-of-00003.gguf"))).collect();
    let header = |part: usize| gguf::read(&parts[part - 1]).unwrap();
    let whole_bytes = fixture("llama-v3-le.gguf");
    let whole = gguf::read(&whole_bytes).unwrap();
    for order in [[1, 2, 3], [3, 1, 2], [2, 3, 1]] {
        let joined = gguf::join(order.map(header).to_vec()).unwrap();
        assert_eq!(joined.tensor_bytes(), whole.tensor_bytes());
        assert_eq!(joined.data_bytes(), whole.data_bytes());
        assert_eq!(joined.model().unwrap().tensors(), whole.model().unwrap().tensors());
    }
    let missing = gguf::join(vec![header(2)]).unwrap_err();
    assert_eq!(
        (missing.kind(), missing.message()),
        (ErrorKind::MissingField, "the file is split into 3 parts: parts 1, 3 missing")
    );
    assert_eq!(header(1).model().unwrap_err().kind(), ErrorKind::MissingField);
    let twice = gguf::join(vec![header(1), header(2), header(2)]).unwrap_err();
    assert_eq!((twice.kind(), twice.message()), (ErrorKind::Contradiction, "part 2 of 3 was given twice"));
    assert_eq!(gguf::join(vec![whole.clone(), header(1)]).unwrap_err().kind(), ErrorKind::Contradiction);
    assert_eq!(gguf::join(vec![whole.clone()]).unwrap().tensors(), whole.tensors());
    assert_eq!(gguf::join(Vec::new()).unwrap_err().kind(), ErrorKind::MissingField);
}

/// Every model of the vectors, written as a header and read back, is the model derived from its description.
#[test]
fn headers_of_every_model_give_the_same_model() {
    let records = records("models.jsonl");
    let (mut compared, mut tensors) = (0, 0);
    for record in records.values() {
        let derived = record.model();
        let bytes = header_of(&record.metadata, &derived);
        let header = gguf::read(&bytes).unwrap_or_else(|error| panic!("{}: {error}", record.id));
        assert_eq!(header.warnings(), [], "{}", record.id);
        let read = header.model().unwrap_or_else(|error| panic!("{}: {error}", record.id));
        assert_eq!(read.warnings(), [], "{}", record.id);
        assert_eq!(read.blocks(), derived.blocks(), "{}", record.id);
        assert_eq!(read.parameters(), derived.parameters(), "{}", record.id);
        let without_types = |model: &Model| -> Vec<_> {
            let each =
                model.tensors().iter().map(|tensor| (tensor.name(), tensor.shape, tensor.storage, tensor.group, tensor.origin));
            each.collect()
        };
        assert_eq!(without_types(&read), without_types(&derived), "{}", record.id);
        // The facts that the tensors prove lead to the same list again.
        let again = Model::new(read.hyperparameters().clone()).unwrap_or_else(|error| panic!("{}: {error}", record.id));
        assert_eq!(again.tensors(), derived.tensors(), "{}: facts {:?}", record.id, read.hyperparameters().facts);
        compared += 1;
        tensors += read.tensors().len();
    }
    println!("{compared} models, {tensors} tensors: headers and descriptions agree");
    assert_eq!((compared, tensors > 30_000), (62, true));
}

fn header_of(metadata: &serde_json::Map<String, serde_json::Value>, model: &Model) -> Vec<u8> {
    let mut writer = GgufWriter::new();
    for (key, value) in metadata {
        writer = writer.kv(key, Kv::from_json(value));
    }
    let mut offset = 0;
    for tensor in model.tensors() {
        let shape = &tensor.shape[..tensor.dimensions()];
        writer = writer.tensor(&tensor.name(), shape, 30, offset);
        offset += (tensor.elements() * 2).next_multiple_of(32);
    }
    writer.bytes()
}
