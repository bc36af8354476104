//! Headers that lie, contradict themselves or never end, each with the code that it is refused with.

use llm_vram_core::ErrorKind::{
    self, Contradiction, InvalidValue, LimitExceeded, Malformed, MissingField, OutOfRange, Truncated, Unsupported,
};

use crate::gguf_writer::{GgufWriter, Kv};

/// How the bytes are given.
#[derive(Debug, Clone)]
pub enum Input {
    /// A whole GGUF file.
    GgufFile(Vec<u8>),
    /// The beginning of a GGUF file of unknown size.
    Gguf(Vec<u8>),
    /// A whole safetensors file.
    SafetensorsFile(Vec<u8>),
    /// The beginning of a safetensors file.
    Safetensors(Vec<u8>),
    /// A safetensors index.
    Index(String),
}

/// A header that is right, which the others are changed from: one layer, 8 heads of 8, F32.
#[must_use]
pub fn good() -> GgufWriter {
    let mut writer = GgufWriter::new()
        .kv("general.architecture", Kv::Text("llama".into()))
        .kv("llama.block_count", Kv::U32(1))
        .kv("llama.context_length", Kv::U32(64))
        .kv("llama.embedding_length", Kv::U32(64))
        .kv("llama.feed_forward_length", Kv::U32(128))
        .kv("llama.attention.head_count", Kv::U32(8))
        .kv("llama.attention.head_count_kv", Kv::U32(2));
    let tensors: [(&str, &[u64]); 7] = [
        ("token_embd.weight", &[64, 256]),
        ("blk.0.attn_q.weight", &[64, 64]),
        ("blk.0.attn_k.weight", &[64, 16]),
        ("blk.0.attn_v.weight", &[64, 16]),
        ("blk.0.attn_output.weight", &[64, 64]),
        ("blk.0.ffn_up.weight", &[64, 128]),
        ("blk.0.ffn_down.weight", &[128, 64]),
    ];
    let mut offset = 0;
    for (name, shape) in tensors {
        writer = writer.tensor(name, shape, 0, offset);
        offset += shape.iter().product::<u64>() * 4;
    }
    writer
}

fn patched(at: usize, with: &[u8]) -> Vec<u8> {
    let mut bytes = good().bytes();
    bytes[at..at + with.len()].copy_from_slice(with);
    bytes
}

/// The header with one more key whose type and value are these raw bytes.
fn raw_value(value: &[u8]) -> Vec<u8> {
    let key: &[u8] = b"x";
    [b"GGUF\x03\0\0\0".as_slice(), &[0; 8], &1_u64.to_le_bytes(), &1_u64.to_le_bytes(), key, value].concat()
}

/// Type and length of an array.
fn array(element: u32, length: u64) -> Vec<u8> {
    [&9_u32.to_le_bytes()[..], &element.to_le_bytes(), &length.to_le_bytes()].concat()
}

fn nested(depth: usize) -> Vec<u8> {
    let mut value = 9_u32.to_le_bytes().to_vec();
    for _ in 0..depth {
        value.extend([&9_u32.to_le_bytes()[..], &1_u64.to_le_bytes()].concat());
    }
    value.extend([&0_u32.to_le_bytes()[..], &0_u64.to_le_bytes()].concat());
    value
}

/// A header of one tensor with these raw dimensions, type and offset.
fn one_tensor(dimensions: &[u64], ty: u32, offset: u64) -> Vec<u8> {
    GgufWriter::new().kv("general.architecture", Kv::Text("llama".into())).tensor("t.weight", dimensions, ty, offset).bytes()
}

fn file(json: &str, data: usize) -> Vec<u8> {
    [&(json.len() as u64).to_le_bytes()[..], json.as_bytes(), &vec![0; data]].concat()
}

fn text(value: &str) -> Kv {
    Kv::Text(value.into())
}

#[rustfmt::skip]
fn gguf_bytes() -> Vec<(&'static str, Input, ErrorKind)> {
    use Input::{Gguf, GgufFile};
    let good_bytes = good().bytes();
    let huge = (1_u64 << 62).to_le_bytes();
    vec![
        ("empty file", GgufFile(vec![]), Truncated),
        ("three bytes of the magic number", GgufFile(b"GGU".to_vec()), Truncated),
        ("another magic number", Gguf(b"GGML\x03\0\0\0".to_vec()), Malformed),
        ("magic number backwards", Gguf(b"FUGG\0\0\0\x03".to_vec()), Malformed),
        ("version 0", Gguf(patched(4, &0_u32.to_le_bytes())), Malformed),
        ("version 1", Gguf(patched(4, &1_u32.to_le_bytes())), Unsupported),
        ("version 1, big-endian", Gguf(patched(4, &1_u32.to_be_bytes())), Unsupported),
        ("version 4", Gguf(patched(4, &4_u32.to_le_bytes())), Unsupported),
        ("version 2^31", Gguf(patched(4, &0x8000_0001_u32.to_le_bytes())), Unsupported),
        ("big-endian version on a little-endian file", Gguf(patched(4, &3_u32.to_be_bytes())), LimitExceeded),
        ("cut within the counts", GgufFile(good_bytes[..20].to_vec()), Truncated),
        ("cut within a key", GgufFile(good_bytes[..34].to_vec()), Truncated),
        ("cut within a value", GgufFile(good_bytes[..60].to_vec()), Truncated),
        ("cut within the tensor list", GgufFile(good_bytes[..good_bytes.len() - 40].to_vec()), Truncated),
        ("cut before the data", GgufFile(good_bytes.clone()), Truncated),
        ("2^62 tensors", Gguf(patched(8, &huge)), LimitExceeded),
        ("2^62 keys", Gguf(patched(16, &huge)), LimitExceeded),
        ("-1 tensors", Gguf(patched(8, &u64::MAX.to_le_bytes())), LimitExceeded),
        ("2^20 tensors that are not there", GgufFile(patched(8, &(1_u64 << 20).to_le_bytes())), Truncated),
        ("60,000 keys that are not there", GgufFile(patched(16, &60_000_u64.to_le_bytes())), Truncated),
        ("key of 2^60 bytes", Gguf(patched(24, &(1_u64 << 60).to_le_bytes())), LimitExceeded),
        ("key of 2^64 - 1 bytes", Gguf(patched(24, &u64::MAX.to_le_bytes())), LimitExceeded),
        ("key past the end of the file", GgufFile(patched(24, &60_000_u64.to_le_bytes())), Truncated),
        ("empty key", Gguf(GgufWriter::new().kv("", Kv::U64(0)).bytes()), Malformed),
        ("key that is not UTF-8", Gguf(patched(32, b"\xff\xfe")), Malformed),
        ("key twice", Gguf(good().kv("llama.block_count", Kv::U32(2)).bytes()), Malformed),
        ("unknown value type", Gguf(raw_value(&[13, 0, 0, 0, 0, 0, 0, 0])), Malformed),
        ("value type 2^32 - 1", Gguf(raw_value(&[255; 8])), Malformed),
        ("string of 2^60 bytes", Gguf(raw_value(&[&8_u32.to_le_bytes()[..], &(1_u64 << 60).to_le_bytes()].concat())), LimitExceeded),
        ("string past the end of the file", GgufFile(raw_value(&[&8_u32.to_le_bytes()[..], &1000_u64.to_le_bytes()].concat())), Truncated),
        ("array of 2^62 bytes", Gguf(raw_value(&array(0, 1 << 62))), LimitExceeded),
        ("array of 2^62 strings", Gguf(raw_value(&array(8, 1 << 62))), LimitExceeded),
        ("array of 2^62 arrays", Gguf(raw_value(&array(9, 1 << 62))), LimitExceeded),
        ("array of 2^61 numbers of 8 bytes", Gguf(raw_value(&array(10, 1 << 61))), LimitExceeded),
        ("array of strings past the end of the file", GgufFile(raw_value(&array(8, 1 << 20))), Truncated),
        ("array whose second string has 2^63 bytes", Gguf(raw_value(&[array(8, 2), vec![0; 8], (1_u64 << 63).to_le_bytes().to_vec()].concat())), LimitExceeded),
        ("array of an unknown type", Gguf(raw_value(&array(77, 1))), Malformed),
        ("arrays nested 5 deep", Gguf(raw_value(&nested(5))), LimitExceeded),
        ("arrays nested 100,000 deep", Gguf(raw_value(&nested(100_000))), LimitExceeded),
        ("alignment 0", Gguf(good().kv("general.alignment", Kv::U32(0)).bytes()), Malformed),
        ("alignment 48", Gguf(good().kv("general.alignment", Kv::U32(48)).bytes()), Malformed),
        ("alignment 2^31", Gguf(good().kv("general.alignment", Kv::U32(1 << 31)).bytes()), LimitExceeded),
        ("alignment as text", Gguf(good().kv("general.alignment", text("32")).bytes()), Malformed),
        ("alignment that the offsets contradict", Gguf(good().tensor("z", &[3], 0, 101_888).kv("general.alignment", Kv::U32(4096)).bytes()), Malformed),
        ("tensor name of 2^40 bytes", Gguf([&one_tensor(&[1], 0, 0)[..66], &(1_u64 << 40).to_le_bytes(), &[0; 32]].concat()), LimitExceeded),
        ("tensor name that is empty", Gguf(GgufWriter::new().tensor("", &[1], 0, 0).bytes()), Malformed),
        ("tensor twice", Gguf(good().tensor("token_embd.weight", &[64], 0, 106_496).bytes()), Malformed),
        ("5 dimensions", Gguf(one_tensor(&[1, 1, 1, 1, 1], 0, 0)), Malformed),
        ("2^31 dimensions", Gguf({
            let mut bytes = one_tensor(&[1], 0, 0);
            let at = bytes.len() - 24;
            bytes[at..at + 4].copy_from_slice(&(1_u32 << 31).to_le_bytes());
            bytes
        }), Malformed),
        ("dimension 0", Gguf(one_tensor(&[64, 0], 0, 0)), Malformed),
        ("dimension 2^63", Gguf(one_tensor(&[1 << 63], 0, 0)), LimitExceeded),
        ("dimensions whose product is 2^64", Gguf(one_tensor(&[1 << 32, 1 << 32], 0, 0)), LimitExceeded),
        ("dimensions whose product is 2^160", Gguf(one_tensor(&[1 << 40; 4], 0, 0)), LimitExceeded),
        ("dimensions whose product wraps to 0 in 128 bits", Gguf(one_tensor(&[1 << 32; 4], 0, 0)), LimitExceeded),
        ("removed type 4", Gguf(one_tensor(&[32], 4, 0)), Unsupported),
        ("removed type 31", Gguf(one_tensor(&[32], 31, 0)), Unsupported),
        ("removed type 38", Gguf(one_tensor(&[32], 38, 0)), Unsupported),
        ("type 2^32 - 1", Gguf(one_tensor(&[32], u32::MAX, 0)), Unsupported),
        ("row that is no whole number of blocks", Gguf(one_tensor(&[100, 4], 12, 0)), Contradiction),
        ("offset that is not aligned", Gguf(one_tensor(&[32], 0, 4)), Malformed),
        ("offset 2^63", Gguf(one_tensor(&[32], 0, 1 << 63)), ErrorKind::Overflow),
        ("offset that overlaps", Gguf(GgufWriter::new().tensor("a", &[64], 0, 0).tensor("b", &[64], 0, 128).bytes()), Contradiction),
        ("two tensors at the same offset", Gguf(GgufWriter::new().tensor("a", &[64], 0, 0).tensor("b", &[64], 0, 0).bytes()), Contradiction),
        ("tensors past the end of the file", GgufFile(one_tensor(&[1 << 30], 0, 0)), Truncated),
    ]
}

#[rustfmt::skip]
fn gguf_models() -> Vec<(&'static str, Input, ErrorKind)> {
    let with = |key: &str, value: Kv| Input::Gguf(good().set(key, value).bytes());
    let shaped = |name: &str, shape: &[u64]| Input::Gguf(good().reshape(name, shape).bytes());
    let (heads, kv) = ("llama.attention.head_count", "llama.attention.head_count_kv");
    let list = |values: &[u32]| Kv::List(4, values.iter().map(|&value| Kv::U32(value)).collect());
    vec![
        ("no architecture", Input::Gguf(good().without("general.architecture").bytes()), MissingField),
        ("architecture as a number", with("general.architecture", Kv::U32(1)), InvalidValue),
        ("architecture of 10,000 letters", with("general.architecture", text(&"a".repeat(10_000))), InvalidValue),
        ("architecture of another model", with("general.architecture", text("qwen2")), MissingField),
        ("no layers key", Input::Gguf(good().without("llama.block_count").bytes()), MissingField),
        ("0 layers", with("llama.block_count", Kv::U32(0)), OutOfRange),
        ("2^32 - 1 layers", with("llama.block_count", Kv::U32(u32::MAX)), OutOfRange),
        ("2^32 layers", with("llama.block_count", Kv::U64(1 << 32)), OutOfRange),
        ("-1 layers", with("llama.block_count", Kv::I32(-1)), OutOfRange),
        ("NaN layers", with("llama.block_count", Kv::F32(f32::NAN)), InvalidValue),
        ("infinitely many layers", with("llama.block_count", Kv::F64(f64::INFINITY)), InvalidValue),
        ("half a layer", with("llama.block_count", Kv::F32(0.5)), InvalidValue),
        ("layers as text", with("llama.block_count", text("1")), InvalidValue),
        ("hidden size 0", with("llama.embedding_length", Kv::U32(0)), OutOfRange),
        ("hidden size that the embedding contradicts", with("llama.embedding_length", Kv::U32(128)), Contradiction),
        ("0 heads", with(heads, Kv::U32(0)), Contradiction),
        ("2^32 - 1 heads", with(heads, Kv::U32(u32::MAX)), OutOfRange),
        ("no heads key", Input::Gguf(good().without(heads).without(kv).bytes()), Contradiction),
        ("more key-value heads than heads", with(kv, Kv::U32(16)), Contradiction),
        ("key-value heads that do not divide the heads", with(kv, Kv::U32(3)), Contradiction),
        ("key-value heads that the keys contradict", with(kv, Kv::U32(4)), Contradiction),
        ("heads for 3 of 1 layers", with(heads, list(&[8, 8, 8])), Contradiction),
        ("heads for 0 of 1 layers", with(heads, list(&[])), Contradiction),
        ("heads for 1,000,000 layers", with(kv, list(&vec![2; 1_000_000])), Contradiction),
        ("heads as an array of texts", with(heads, Kv::List(8, vec![text("8")])), InvalidValue),
        ("head size 2^20", with("llama.attention.key_length", Kv::U32(1 << 20)), OutOfRange),
        ("head size 0", with("llama.attention.key_length", Kv::U32(0)), OutOfRange),
        ("feed-forward width that the tensors contradict", with("llama.feed_forward_length", Kv::U32(256)), Contradiction),
        ("vocabulary of 2^32 - 1", with("llama.vocab_size", Kv::U32(u32::MAX)), OutOfRange),
        ("context of 2^63", with("llama.context_length", Kv::U64(1 << 63)), OutOfRange),
        ("window of 2^40", with("llama.attention.sliding_window", Kv::U64(1 << 40)), OutOfRange),
        ("window period 0", with("llama.attention.sliding_window_pattern", Kv::U32(0)), OutOfRange),
        ("window pattern for 100 layers", with("llama.attention.sliding_window_pattern", Kv::List(7, vec![Kv::Bool(true); 100])), Contradiction),
        ("window pattern of texts", with("llama.attention.sliding_window_pattern", text("yes")), InvalidValue),
        ("2^31 experts", with("llama.expert_count", Kv::U32(1 << 31)), OutOfRange),
        ("more experts used than there are", with("llama.expert_used_count", Kv::U32(4)), Contradiction),
        ("all layers for prediction", with("llama.nextn_predict_layers", Kv::U32(1)), Contradiction),
        ("NaN logit scale", with("llama.logit_scale", Kv::F32(f32::NAN)), InvalidValue),
        ("infinite embedding scale", with("llama.embedding_scale", Kv::F64(f64::INFINITY)), InvalidValue),
        ("state size 2^31", with("llama.ssm.state_size", Kv::U32(1 << 31)), OutOfRange),
        ("embedding of another width", shaped("token_embd.weight", &[32, 256]), Contradiction),
        ("embedding of 2^40 rows", shaped("token_embd.weight", &[64, 1 << 40]), OutOfRange),
        ("keys of another width", shaped("blk.0.attn_k.weight", &[64, 32]), Contradiction),
        ("queries of another width", shaped("blk.0.attn_q.weight", &[64, 72]), Contradiction),
        ("layer 7 of 1", Input::Gguf(good().tensor("blk.7.attn_norm.weight", &[64], 0, 139_264 + 32_768).bytes()), Contradiction),
        ("no tensors", Input::Gguf(GgufWriter::new().kv("general.architecture", text("llama")).bytes()), MissingField),
        ("adapter", with("general.type", text("adapter")), Unsupported),
        ("part 1 of 3", Input::Gguf(good().kv("split.count", Kv::U16(3)).kv("split.no", Kv::U16(0)).bytes()), MissingField),
        ("part 9 of 3", Input::Gguf(good().kv("split.count", Kv::U16(3)).kv("split.no", Kv::U16(8)).bytes()), Contradiction),
        ("part of 2^40", Input::Gguf(good().kv("split.count", Kv::U64(1 << 40)).bytes()), LimitExceeded),
        ("part without a number", Input::Gguf(good().kv("split.count", Kv::U16(3)).bytes()), MissingField),
        ("part count as text", Input::Gguf(good().kv("split.count", text("3")).bytes()), Malformed),
    ]
}

#[rustfmt::skip]
fn safetensors_bytes() -> Vec<(&'static str, Input, ErrorKind)> {
    use Input::{Index, Safetensors, SafetensorsFile};
    let one = |fields: &str| Safetensors(file(&format!(r#"{{"a":{{{fields}}}}}"#), 0));
    let many = |count: usize, entry: &dyn Fn(usize) -> String| {
        let entries: Vec<String> = (0..count).map(entry).collect();
        file(&format!("{{{}}}", entries.join(",")), 0)
    };
    vec![
        ("safetensors: empty file", SafetensorsFile(vec![]), Truncated),
        ("safetensors: header of 2^63 bytes", Safetensors((1_u64 << 63).to_le_bytes().to_vec()), LimitExceeded),
        ("safetensors: header of 100,000,001 bytes", Safetensors(100_000_001_u64.to_le_bytes().to_vec()), LimitExceeded),
        ("safetensors: header past the end of the file", SafetensorsFile(100_u64.to_le_bytes().to_vec()), Truncated),
        ("safetensors: header of 0 bytes", Safetensors(0_u64.to_le_bytes().to_vec()), Truncated),
        ("safetensors: no JSON", Safetensors(file("hello", 0)), Malformed),
        ("safetensors: cut JSON", Safetensors(file(r#"{"a":{"dtype":"F32""#, 0)), Truncated),
        ("safetensors: array instead of object", Safetensors(file("[]", 0)), Malformed),
        ("safetensors: no tensors", Safetensors(file("{}", 0)), MissingField),
        ("safetensors: text after the object", Safetensors(file("{} x", 0)), Malformed),
        ("safetensors: not UTF-8", Safetensors([&2_u64.to_le_bytes()[..], b"\xff\xfe"].concat()), Malformed),
        ("safetensors: nested 100,000 deep", Safetensors(file(&format!(r#"{{"a":{}"#, "[".repeat(100_000)), 0)), Malformed),
        ("safetensors: nested objects 100,000 deep", Safetensors(file(&r#"{"a":"#.repeat(100_000), 0)), Truncated),
        ("safetensors: ignored field nested 100,000 deep", one(&format!(r#""x":{}"#, "[".repeat(100_000))), Malformed),
        ("safetensors: tensor twice", Safetensors(file(r#"{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"a":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}}"#, 0)), Malformed),
        ("safetensors: field twice", one(r#""dtype":"U8","dtype":"U8","shape":[1],"data_offsets":[0,1]"#), Malformed),
        ("safetensors: no type", one(r#""shape":[1],"data_offsets":[0,1]"#), MissingField),
        ("safetensors: no shape", one(r#""dtype":"U8","data_offsets":[0,1]"#), MissingField),
        ("safetensors: no offsets", one(r#""dtype":"U8","shape":[1]"#), MissingField),
        ("safetensors: unknown type", one(r#""dtype":"Q4_K","shape":[1],"data_offsets":[0,1]"#), Unsupported),
        ("safetensors: type as a number", one(r#""dtype":1,"shape":[1],"data_offsets":[0,1]"#), Malformed),
        ("safetensors: negative dimension", one(r#""dtype":"U8","shape":[-1],"data_offsets":[0,1]"#), Malformed),
        ("safetensors: dimension 1.5", one(r#""dtype":"U8","shape":[1.5],"data_offsets":[0,1]"#), Malformed),
        ("safetensors: dimension 1e3", one(r#""dtype":"U8","shape":[1e3],"data_offsets":[0,1000]"#), Malformed),
        ("safetensors: dimension 2^64", one(r#""dtype":"U8","shape":[18446744073709551616],"data_offsets":[0,1]"#), Malformed),
        ("safetensors: dimensions whose product overflows", one(r#""dtype":"U8","shape":[4294967296,4294967296],"data_offsets":[0,0]"#), LimitExceeded),
        ("safetensors: 1,000,000 dimensions", one(&format!(r#""dtype":"U8","shape":[{}1],"data_offsets":[0,1]"#, "1,".repeat(1_000_000))), Malformed),
        ("safetensors: three offsets", one(r#""dtype":"U8","shape":[1],"data_offsets":[0,1,2]"#), Malformed),
        ("safetensors: one offset", one(r#""dtype":"U8","shape":[1],"data_offsets":[0]"#), Malformed),
        ("safetensors: end before begin", one(r#""dtype":"U8","shape":[1],"data_offsets":[1,0]"#), Malformed),
        ("safetensors: size that the shape contradicts", one(r#""dtype":"F32","shape":[2],"data_offsets":[0,4]"#), Contradiction),
        ("safetensors: half a byte", one(r#""dtype":"F4","shape":[3],"data_offsets":[0,1]"#), Contradiction),
        ("safetensors: gap", one(r#""dtype":"U8","shape":[1],"data_offsets":[1,2]"#), Contradiction),
        ("safetensors: overlap", Safetensors(file(r#"{"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},"b":{"dtype":"U8","shape":[4],"data_offsets":[2,6]}}"#, 0)), Contradiction),
        ("safetensors: data past the end of the file", SafetensorsFile(file(r#"{"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}}"#, 3)), Truncated),
        ("safetensors: data beyond the header's", SafetensorsFile(file(r#"{"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}}"#, 5)), Contradiction),
        ("safetensors: metadata of numbers", Safetensors(file(r#"{"__metadata__":{"format":1}}"#, 0)), Malformed),
        ("safetensors: no language model", one(r#""dtype":"U8","shape":[1],"data_offsets":[0,1]"#), MissingField),
        ("safetensors: layer 4,294,967,295", Safetensors(file(r#"{"model.layers.4294967295.x.weight":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}"#, 0)), OutOfRange),
        ("safetensors: 10,000 empty tensors at the same place", Safetensors(many(10_000, &|n| format!(r#""{n}":{{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}"#))), MissingField),
        ("index: no JSON", Index("weight_map".into()), Malformed),
        ("index: no map", Index(r#"{"metadata":{"total_size":1}}"#.into()), MissingField),
        ("index: map as array", Index(r#"{"weight_map":[]}"#.into()), Malformed),
        ("index: file as number", Index(r#"{"weight_map":{"a":1}}"#.into()), Malformed),
        ("index: tensor twice", Index(r#"{"weight_map":{"a":"x","a":"y"}}"#.into()), Malformed),
        ("index: map twice", Index(r#"{"weight_map":{},"weight_map":{}}"#.into()), Malformed),
        ("index: negative total", Index(r#"{"metadata":{"total_size":-1},"weight_map":{}}"#.into()), Malformed),
        ("index: total of 2^63", Index(r#"{"metadata":{"total_size":9223372036854775808},"weight_map":{}}"#.into()), ErrorKind::Overflow),
        ("index: 10,000 files", Index(format!(r#"{{"weight_map":{{{}}}}}"#, (0..10_000).map(|n| format!(r#""{n}":"{n}""#)).collect::<Vec<_>>().join(","))), LimitExceeded),
        ("index: nested 100,000 deep", Index(format!(r#"{{"x":{}"#, "{\"y\":".repeat(100_000))), Truncated),
    ]
}

/// Every case: what is wrong, the input, and the code.
#[must_use]
pub fn cases() -> Vec<(&'static str, Input, ErrorKind)> {
    [gguf_bytes(), gguf_models(), safetensors_bytes()].into_iter().flatten().collect()
}
