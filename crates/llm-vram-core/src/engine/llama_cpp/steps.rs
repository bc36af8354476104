//! The sums of a load, step by step.

use alloc::{format, string::String, vec::Vec};

use super::{
    cache::{LayerCache, Layers},
    compressed::{self, Purpose},
    load::Load,
    working::ComputeBuffers,
};
use crate::{
    derivation::{Certainty, Derivation, Step},
    model::Recurrent,
    quant::GgmlType,
    units::Bytes,
};

const CONTEXT: &str = "llama.cpp llama-cpp-sys-2 0.1.161, src/llama-context.cpp: llama_context";
const CACHE: &str = "llama.cpp llama-cpp-sys-2 0.1.161, src/llama-kv-cache.cpp: llama_kv_cache";
const COMPRESSED: &str =
    "llama.cpp llama-cpp-sys-2 0.1.161, src/llama-kv-cache-dsv4.cpp: llama_kv_cache_dsv4, llama_dsv4_comp_state";
const STATE: &str = "llama.cpp llama-cpp-sys-2 0.1.161, src/llama-memory-recurrent.cpp: llama_memory_recurrent; src/llama-hparams.cpp: n_embd_r, n_embd_s";
const WEIGHTS: &str =
    "llama.cpp llama-cpp-sys-2 0.1.161, src/llama-model-loader.cpp: create_tensor; src/llama-model.cpp: load_tensors";
const OUTPUT: &str = "llama.cpp llama-cpp-sys-2 0.1.161, src/llama-context.cpp: output_reserve";

/// Records how every figure of a load came about.
pub(super) fn record(load: &Load<'_>, buffers: &ComputeBuffers, output: Bytes, derivation: &mut Derivation) {
    if !derivation.is_on() {
        return;
    }
    record_weights(load, derivation);
    record_context(load, derivation);
    record_caches(load, derivation);
    record_states(load, derivation);
    derivation.step(|| {
        Step::bytes("llama_cpp.output_buffer", "logits for the caller, on the host", "n_vocab × n_seq_max × 4", output, OUTPUT)
            .with("n_vocab", load.scene.model.hyperparameters().vocab_size.into(), "tokens")
            .with("n_seq_max", load.context.n_seq_max, "sequences")
    });
    buffers.record(load, derivation);
    for device in &load.scene.hardware.devices {
        for term in super::overhead::of(device) {
            derivation.step(|| {
                Step::bytes(
                    "llama_cpp.overhead",
                    format!("{} on {}", term.name, device.name),
                    "published readings",
                    term.amount.expected,
                    term.source,
                )
                .with("low", term.amount.low.get(), "bytes")
                .with("high", term.amount.high.get(), "bytes")
                .known(term.amount.certainty)
            });
        }
    }
}

fn record_weights(load: &Load<'_>, derivation: &mut Derivation) {
    let weights = &load.weights;
    derivation.step(|| {
        Step::bytes("llama_cpp.weights", "weights, each tensor once", "Σ over tensors: row bytes × rows", weights.total, WEIGHTS)
            .with("tensors", load.scene.model.tensors().len() as u64, "tensors")
    });
    for index in 0..load.placement.device_count() {
        let Ok(bytes) = weights.places.device(index) else { continue };
        derivation.step(|| {
            Step::bytes(
                "llama_cpp.weights_on_device",
                format!("weights on device {index}, padding and second copies included"),
                "Σ over its tensors: aligned bytes + padding of quantised rows",
                bytes,
                WEIGHTS,
            )
            .with("n_gpu_layers", load.placement.offloaded_units().into(), "layers")
        });
    }
    if let Ok(bytes) = weights.places.host() {
        derivation.step(|| {
            Step::bytes("llama_cpp.weights_on_host", "weights on the host", "Σ over its tensors: aligned bytes", bytes, WEIGHTS)
        });
    }
}

fn record_context(load: &Load<'_>, derivation: &mut Derivation) {
    let (context, parameters) = (&load.context, load.parameters);
    derivation.step(|| {
        let (label, formula) = if context.n_stream == 1 {
            ("cells of the one cache that all sequences share", "n_ctx_seq = pad(n_ctx, 256)")
        } else {
            ("cells of each sequence's cache", "n_ctx_seq = pad(pad(n_ctx, 256) / n_seq_max, 256)")
        };
        let mut step = Step::bytes("llama_cpp.n_ctx_seq", label, formula, Bytes::ZERO, CONTEXT)
            .with("n_ctx", parameters.n_ctx, "tokens")
            .with("n_seq_max", context.n_seq_max, "sequences");
        #[allow(clippy::cast_precision_loss, reason = "cells are below 2^40")]
        {
            step.result = context.n_ctx_seq as f64;
        }
        step.unit = "cells";
        step
    });
}

/// DeepSeek V4's caches by purpose and size.
fn record_compressed(load: &Load<'_>, derivation: &mut Derivation) {
    let hp = load.scene.model.hyperparameters();
    let mut kinds: Vec<(compressed::Row, u64)> = Vec::new();
    for row in (0..hp.block_count).flat_map(|layer| compressed::rows(hp, load.parameters, &load.context, layer)) {
        match kinds.iter_mut().find(|(known, _)| *known == row) {
            Some((_, count)) => *count += 1,
            None => kinds.push((row, 1)),
        }
    }
    for (row, count) in kinds {
        let (id, label) = match row.purpose {
            Purpose::Window => ("llama_cpp.kv_cache_swa", format!("raw keys of {count} layers, for their window")),
            Purpose::Compressed => ("llama_cpp.kv_cache_compressed", format!("compressed keys of {count} layers")),
            Purpose::Indexer => ("llama_cpp.kv_cache_indexer", format!("compressed keys of {count} sparse-attention indexers")),
            Purpose::State => ("llama_cpp.compressor_state", format!("rows under way in {count} layers, keys and scores")),
        };
        let row_bytes = row.ty.row_bytes(row.elements).map_or(0, Bytes::get);
        let sequences = load.context.n_seq_max;
        let wide = u128::from(row_bytes) * u128::from(row.rows) * u128::from(sequences) * u128::from(count);
        let Ok(bytes) = Bytes::from_wide(wide) else { continue };
        let known = if compressed::is_bound(hp) { Certainty::Assumed } else { Certainty::Exact };
        derivation.step(|| {
            Step::bytes(id, label, "layers × n_seq_max × rows × row_bytes", bytes, COMPRESSED)
                .with("layers", count, "layers")
                .with("n_seq_max", sequences, "sequences")
                .with("rows", row.rows, "rows")
                .with("row_bytes", row_bytes, "bytes")
                .known(known)
        });
    }
}

fn record_caches(load: &Load<'_>, derivation: &mut Derivation) {
    if compressed::applies(load.scene.model.hyperparameters()) {
        return record_compressed(load, derivation);
    }
    let layers = Layers::of(load.scene.model, load.parameters);
    let mut groups: Vec<(LayerCache, u64)> = Vec::new();
    for layer in 0..load.scene.model.hyperparameters().main_block_count() {
        let Some(cache) = layers.cache(layer) else { continue };
        match groups.iter_mut().find(|(known, _)| *known == cache) {
            Some((_, count)) => *count += 1,
            None => groups.push((cache, 1)),
        }
    }
    for (cache, count) in groups {
        let cells = if cache.windowed { load.context.window_cells(layers.window()) } else { load.context.cells() };
        let (id, label) = if cache.windowed {
            ("llama_cpp.kv_cache_swa", format!("cache of {count} layers with a window of {} tokens", layers.window()))
        } else {
            ("llama_cpp.kv_cache", format!("cache of {count} layers"))
        };
        record_rows(load, derivation, id, label, count, cells, [cache.key, cache.value]);
        if cache.indexer_key > 0 {
            let label = format!("keys of {count} sparse-attention indexers");
            record_rows(
                load,
                derivation,
                "llama_cpp.kv_cache_indexer",
                label,
                count,
                cells,
                [cache.indexer_key, cache.indexer_value],
            );
        }
    }
}

fn record_rows(
    load: &Load<'_>,
    derivation: &mut Derivation,
    id: &'static str,
    label: String,
    layers: u64,
    cells: u64,
    [key, value]: [u64; 2],
) {
    let row = |elements: u64, ty: GgmlType| ty.row_bytes(elements).map_or(0, Bytes::get);
    let (row_k, row_v) = (row(key, load.parameters.type_k), row(value, load.parameters.type_v));
    let streams = load.context.n_stream;
    let wide = u128::from(layers) * u128::from(streams) * u128::from(cells) * (u128::from(row_k) + u128::from(row_v));
    let Ok(bytes) = Bytes::from_wide(wide) else { return };
    derivation.step(|| {
        Step::bytes(id, label, "layers × n_stream × cells × (row_bytes(type_k, k) + row_bytes(type_v, v))", bytes, CACHE)
            .with("layers", layers, "layers")
            .with("n_stream", streams, "caches")
            .with("cells", cells, "tokens")
            .with("k", key, "elements")
            .with("row_bytes(type_k, k)", row_k, "bytes")
            .with("v", value, "elements")
            .with("row_bytes(type_v, v)", row_v, "bytes")
    });
}

fn record_states(load: &Load<'_>, derivation: &mut Derivation) {
    let blocks = load.scene.model.blocks().iter().filter(|block| !block.is_mtp);
    let mut groups: Vec<(Recurrent, u64)> = Vec::new();
    for recurrent in blocks.filter_map(|block| block.recurrent) {
        match groups.iter_mut().find(|(known, _)| *known == recurrent) {
            Some((_, count)) => *count += 1,
            None => groups.push((recurrent, 1)),
        }
    }
    for (recurrent, count) in groups {
        let elements = u128::from(recurrent.conv_elements) + u128::from(recurrent.state_elements);
        let Ok(bytes) = Bytes::from_wide(elements * u128::from(count) * u128::from(load.context.n_seq_max) * 4) else { continue };
        derivation.step(|| {
            Step::bytes(
                "llama_cpp.recurrent_state",
                format!("recurrent state of {count} layers"),
                "layers × n_seq_max × (n_embd_r + n_embd_s) × 4",
                bytes,
                STATE,
            )
            .with("layers", count, "layers")
            .with("n_seq_max", load.context.n_seq_max, "sequences")
            .with("n_embd_r", recurrent.conv_elements, "elements")
            .with("n_embd_s", recurrent.state_elements, "elements")
        });
    }
}
