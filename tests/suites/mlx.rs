//! MLX: bytes of modules and caches against what mlx and mlx-lm themselves computed.
#![allow(clippy::panic, clippy::expect_used, clippy::unwrap_used, clippy::print_stdout)]

use std::collections::BTreeMap;

use llm_vram_core::{
    ErrorKind, Model,
    engine::mlx::{
        cache::{AttentionCache, KvBitsOutcome, layer_caches},
        growth::{CacheClass, Growth, fill},
        options::KvBits,
    },
    input::hf_config,
    quant::mlx::{self, MlxMode, MlxPrecision, MlxQuantisation},
};
use llm_vram_tests::{Row, jsonl, tsv};
use serde::Deserialize;
use serde_json::Value;

/// The columns of `mlx_weights.tsv` that name a quantisation.
const QUANTISATIONS: [&str; 20] = [
    "bf16",
    "affine-4bit-g64",
    "affine-8bit-g64",
    "mixed_4_6",
    "affine-4bit-g32",
    "affine-6bit-g64",
    "affine-5bit-g64",
    "affine-3bit-g64",
    "affine-2bit-g64",
    "affine-4bit-g128",
    "affine-8bit-g32",
    "mxfp4",
    "nvfp4",
    "mxfp8",
    "mixed_2_6",
    "mixed_3_4",
    "mixed_3_6",
    "experts-mxfp4+rest-bf16",
    "experts-mxfp4+rest-affine-8bit-g64",
    "experts-mxfp4+rest-affine-4bit-g64",
];

fn quantisation(column: &str) -> MlxQuantisation {
    let affine = |text: &str| {
        let (bits, group) = text.split_once("bit-g").expect("bits and group");
        MlxPrecision::new(MlxMode::Affine, bits.parse().unwrap(), group.parse().unwrap()).unwrap()
    };
    if let Some(rest) = column.strip_prefix("experts-mxfp4+rest-") {
        return MlxQuantisation::ExpertsMxfp4(rest.strip_prefix("affine-").map(affine));
    }
    match column.strip_prefix("affine-") {
        Some(text) => MlxQuantisation::Uniform(affine(text)),
        None => MlxQuantisation::parse(&format!("MLX-{column}")).unwrap().expect("a format"),
    }
}

/// Models whose figures rest on another description or that are not read.
const NOT_READ: [(&str, &str); 4] = [
    ("command-r-plus-104b", "built without `use_qk_norm`, so without 851,968 weights of norms that the release has"),
    ("llama-3.3-nemotron-super-49b", "its config lists blocks, which is not read"),
    ("recurrentgemma-2b", "no GGUF architecture"),
    ("rwkv7-2.9b", "its config is not read"),
];

/// A configuration of `hf_configs.jsonl`.
#[derive(Deserialize)]
struct Configured {
    id: String,
    config: Value,
}

fn described() -> BTreeMap<String, Model> {
    let read = |row: Configured| {
        let model = hf_config::model(&row.config.to_string()).unwrap_or_else(|error| panic!("{}: {error}", row.id));
        (row.id, model)
    };
    let rows = jsonl::<Configured>("hf_configs.jsonl").into_iter().chain(jsonl("mlx_configs.jsonl"));
    rows.filter(|row| !NOT_READ.iter().any(|(id, _)| *id == row.id)).map(read).collect()
}

#[test]
fn bytes_of_every_module_list() {
    let models = described();
    let (mut exact, mut off, mut unread) = (0, 0, 0);
    for row in tsv("mlx_weights.tsv") {
        let id = row.text("model");
        let rows = QUANTISATIONS.iter().filter(|column| !row.text(column).is_empty());
        let Some(model) = models.get(id) else {
            let reason = NOT_READ.iter().find(|(other, _)| *other == id).map_or("not described", |(_, reason)| reason);
            println!("{id} ({}), {} rows: {reason}", row.text("model_type"), rows.clone().count());
            unread += rows.count();
            continue;
        };
        let mut misses = Vec::new();
        for column in rows {
            let wanted = row.text(column);
            let found = mlx::weights(model, quantisation(column));
            let same = match &found {
                Ok(found) => found.bytes.get().to_string() == wanted && found.parameters == row.number("params"),
                Err(error) => wanted == "refused" && error.kind() == ErrorKind::EngineRefuses,
            };
            if same {
                exact += 1;
            } else {
                off += 1;
                misses.push(format!("{column}: {wanted} wanted, {found:?} found"));
            }
        }
        if !misses.is_empty() {
            println!("{id} ({}): {}", row.text("model_type"), misses.join("; "));
        }
    }
    println!("module bytes: {exact} rows exact, {off} off, {unread} of models that are not described");
    assert_eq!(off, 0);
    assert!(exact >= 2130, "rows were lost");
}

fn optional(row: &Row, column: &str) -> Option<u64> {
    let text = row.text(column);
    (!text.is_empty()).then(|| text.parse().unwrap())
}

fn class_of_row(row: &Row) -> CacheClass {
    let limit = optional(row, "limit").unwrap_or(0);
    match row.text("cache") {
        name if name.contains("Rotating") => CacheClass::Rotating { max_size: limit, keep: optional(row, "keep").unwrap_or(0) },
        "ChunkedKVCache" => CacheClass::Chunked { chunk_size: limit },
        _ => CacheClass::Full,
    }
}

/// The slots that a row asks for, as the class grows.
fn slots_of_row(row: &Row) -> Growth {
    let class = class_of_row(row);
    let lengths: Vec<u64> = row.text("sequence_lengths").split(',').filter_map(|text| text.parse().ok()).collect();
    if row.text("cache").contains(".merge") {
        let mut batch = Growth::merged(class, *lengths.iter().max().unwrap());
        if row.text("cache").ends_with("+1") {
            batch.feed(1);
        }
        return batch;
    }
    let mut cache = Growth::new(class);
    match row.text("feed") {
        "prompt" => return filled(class, row.number("tokens"), 0),
        "prompt+gen" => return filled(class, row.number("prompt"), row.number("generated")),
        "one_chunk" => cache.feed(row.number("tokens")),
        "one_chunk+gen" => {
            cache.feed(row.number("tokens") - row.number("generated"));
            (0..row.number("generated")).for_each(|_| cache.feed(1));
        }
        "chunks" => lengths.iter().for_each(|&tokens| cache.feed(tokens)),
        other => panic!("{}: feed {other}", row.place()),
    }
    cache
}

/// A prompt in chunks of 2048, its last token alone, then generated tokens.
fn filled(class: CacheClass, prompt: u64, generated: u64) -> Growth {
    let mut cache = Growth::new(class);
    let mut left = prompt - 1;
    while left > 0 {
        cache.feed(left.min(2048));
        left -= left.min(2048);
    }
    (0..=generated).for_each(|_| cache.feed(1));
    cache
}

#[test]
fn growth_of_every_cache_class() {
    let mut compared = BTreeMap::new();
    for row in tsv("mlx_cache_growth.tsv") {
        let place = row.place();
        let (heads, key_length, value_length) = (row.number("heads"), row.number("key_length"), row.number("value_length"));
        let bits = optional(&row, "bits").map(|bits| KvBits { bits, group_size: row.number("group_size") });
        let cache = AttentionCache {
            class: class_of_row(&row),
            head_count: heads,
            key_length,
            value_length,
            indexer_elements: 0,
            is_latent: false,
            is_listed: false,
        };
        *compared.entry(row.text("cache").to_owned()).or_insert(0) += 1;
        if row.text("bytes") == "refused" {
            assert!(matches!(cache.kv_bits_outcome(bits.unwrap()), KvBitsOutcome::Crash(_)), "{place}");
            continue;
        }
        let grown = slots_of_row(&row);
        assert_eq!(grown.slots(), row.number("slots"), "{place}: slots");
        let sequences =
            if row.text("cache").contains("Batch") { row.text("sequence_lengths").split(',').count() as u64 } else { 1 };
        let slot_bytes = bits.map_or_else(|| cache.slot_bytes(), |bits| cache.quantised_slot_bytes(bits));
        let mut last = grown;
        if let Some(next) = optional(&row, "next_slots") {
            last.feed(1);
            assert_eq!(last.slots(), next, "{place}: one token more");
        }
        assert_eq!(last.slots() * slot_bytes * sequences, row.number("bytes"), "{place}: bytes");
        if let Some(kept) = optional(&row, "filtered_slots") {
            let lengths: Vec<u64> = row.text("sequence_lengths").split(',').map(|text| text.parse().unwrap()).collect();
            let mut grown = grown;
            grown.feed(1);
            assert_eq!(grown.slots() - (lengths.iter().max().unwrap() - lengths.last().unwrap()), kept, "{place}: filtered");
        }
        if let (Some(prefill), "prompt") = (optional(&row, "prefill_slots"), row.text("feed")) {
            let filled = fill(class_of_row(&row), row.number("tokens"), 2048);
            assert_eq!((filled.prefill_slots, filled.slots), (prefill, row.number("slots")), "{place}: prefill");
            if let Some(peak) = optional(&row, "peak_slots") {
                assert!(filled.peak_slots == peak.max(filled.slots), "{place}: peak {} of {peak}", filled.peak_slots);
            }
        }
    }
    let rows: u32 = compared.values().sum();
    println!("cache classes: {rows} rows, 0 bytes off: {compared:?}");
    assert_eq!(rows, 345);
}

#[test]
fn caches_of_every_model() {
    let models = described();
    let (mut exact, mut off, mut unread) = (0, 0, BTreeMap::new());
    for row in tsv("mlx_model_caches.tsv") {
        let id = row.text("model");
        let Some(model) = models.get(id) else {
            *unread.entry(format!("{id} ({})", row.text("model_type"))).or_insert(0) += 1;
            continue;
        };
        let layers = layer_caches(model, None).unwrap();
        let bytes: u64 = layers
            .iter()
            .map(|layer| {
                let attention =
                    layer.attention.map_or(0, |cache| fill(cache.class, row.number("tokens"), 2048).slots * cache.slot_bytes());
                attention + layer.state.map_or(0, |state| state.bytes.get())
            })
            .sum();
        if bytes == row.number("bytes") {
            exact += 1;
        } else {
            off += 1;
            println!("{id} at {} tokens: {bytes} found, {} wanted: {}", row.text("tokens"), row.text("bytes"), row.text("groups"));
        }
    }
    println!(
        "model caches: {exact} rows exact, {off} off, {} of models that are not described: {unread:?}",
        unread.values().sum::<u32>()
    );
    assert_eq!(off, 0);
    assert!(exact >= 400, "rows were lost");
}
