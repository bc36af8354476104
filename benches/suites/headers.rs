//! Reading headers: GGUF with a vocabulary of 150,000 tokens, safetensors with 10,000 tensors.
#![allow(missing_docs, clippy::panic)]

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use llm_vram_core::{
    Model,
    input::{gguf, safetensors},
    model::{Hyperparameters, PerLayer},
};

const TOKENS: u32 = 150_000;

struct Gguf(Vec<u8>);

impl Gguf {
    fn number(&mut self, number: u64) {
        self.0.extend(number.to_le_bytes());
    }

    fn text(&mut self, text: &str) {
        self.number(text.len() as u64);
        self.0.extend(text.as_bytes());
    }

    fn key(&mut self, key: &str, ty: u32) {
        self.text(key);
        self.0.extend(ty.to_le_bytes());
    }

    fn count(&mut self, key: &str, value: u32) {
        self.key(key, 4);
        self.0.extend(value.to_le_bytes());
    }

    fn array(&mut self, key: &str, element: u32, length: u32) {
        self.key(key, 9);
        self.0.extend(element.to_le_bytes());
        self.number(length.into());
    }
}

fn llama() -> Model {
    let mut hp = Hyperparameters::new("llama");
    hp.block_count = 80;
    hp.embedding_length = 8192;
    hp.vocab_size = TOKENS;
    hp.feed_forward_length = PerLayer::Uniform(28_672);
    hp.head_count = PerLayer::Uniform(64);
    hp.head_count_kv = PerLayer::Uniform(8);
    Model::new(hp).unwrap_or_else(|error| panic!("{error}"))
}

/// A 70B model's header: 150,000 tokens with scores and types, as many merges, 723 tensors.
fn gguf_header() -> Vec<u8> {
    let model = llama();
    let mut out = Gguf(b"GGUF\x03\0\0\0".to_vec());
    out.number(model.tensors().len() as u64);
    out.number(11);
    out.key("general.architecture", 8);
    out.text("llama");
    for (key, value) in [
        ("llama.block_count", 80),
        ("llama.context_length", 131_072),
        ("llama.embedding_length", 8192),
        ("llama.feed_forward_length", 28_672),
        ("llama.attention.head_count", 64),
        ("llama.attention.head_count_kv", 8),
    ] {
        out.count(key, value);
    }
    // Pieces of 1 to 11 letters, as vocabularies have them.
    let piece = |number: u32| &"abcdefghijk"[..1 + (number.wrapping_mul(2_654_435_761) >> 16) as usize % 11];
    out.array("tokenizer.ggml.tokens", 8, TOKENS);
    (0..TOKENS).for_each(|number| out.text(piece(number)));
    out.array("tokenizer.ggml.scores", 6, TOKENS);
    (0..TOKENS).for_each(|_| out.0.extend(0_f32.to_le_bytes()));
    out.array("tokenizer.ggml.token_type", 5, TOKENS);
    (0..TOKENS).for_each(|_| out.0.extend(1_i32.to_le_bytes()));
    out.array("tokenizer.ggml.merges", 8, TOKENS);
    (0..TOKENS).for_each(|number| out.text(&format!("{} {}", piece(number), piece(number + 1))));
    let mut offset = 0;
    for tensor in model.tensors() {
        out.text(&tensor.name());
        let shape = &tensor.shape[..tensor.dimensions()];
        out.0.extend(u32::try_from(shape.len()).unwrap_or(0).to_le_bytes());
        shape.iter().for_each(|&n| out.number(n));
        out.0.extend(30_u32.to_le_bytes());
        out.number(offset);
        offset += (tensor.elements() * 2).next_multiple_of(32);
    }
    out.0
}

fn safetensors_header() -> Vec<u8> {
    let mut begin = 0;
    let mut entries = vec![String::from(r#""model.embed_tokens.weight":{"dtype":"BF16","shape":[64,64],"data_offsets":[0,8192]}"#)];
    begin += 8192;
    for number in 0..10_000 {
        let (layer, expert) = (number / 200, number % 200);
        let end = begin + 8192;
        entries.push(format!(
            r#""model.layers.{layer}.mlp.experts.{expert}.up_proj.weight":{{"dtype":"BF16","shape":[64,64],"data_offsets":[{begin},{end}]}}"#
        ));
        begin = end;
    }
    let text = format!("{{{}}}", entries.join(","));
    [&(text.len() as u64).to_le_bytes()[..], text.as_bytes()].concat()
}

fn headers(criterion: &mut Criterion) {
    let bytes = gguf_header();
    let mut group = criterion.benchmark_group("gguf_header");
    group.throughput(Throughput::Bytes(bytes.len() as u64));
    group.bench_function("read_150k_tokens", |bencher| {
        bencher.iter(|| gguf::read(black_box(&bytes)).map(|header| header.tensors().len()))
    });
    group.bench_function("model_150k_tokens", |bencher| {
        bencher.iter(|| gguf::read(black_box(&bytes)).and_then(|header| header.model()).map(|model| model.tensors().len()));
    });
    group.finish();

    let bytes = safetensors_header();
    let mut group = criterion.benchmark_group("safetensors_header");
    group.throughput(Throughput::Bytes(bytes.len() as u64));
    group.bench_function("read_10k_tensors", |bencher| {
        bencher.iter(|| safetensors::read(black_box(&bytes)).map(|header| header.tensors().len()));
    });
    group.bench_function("model_10k_tensors", |bencher| {
        bencher.iter(|| {
            let header = safetensors::read(black_box(&bytes))?;
            safetensors::Checkpoint::from_header(&header)?.model(None).map(|model| model.tensors().len())
        });
    });
    group.finish();
}

criterion_group!(benches, headers);
criterion_main!(benches);
