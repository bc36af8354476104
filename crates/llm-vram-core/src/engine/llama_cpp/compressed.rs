//! Caches of DeepSeek V4: keys alone, a window of raw ones in every layer, and compressed ones of all tokens.
//!
//! Of each layer's compress ratio follows which compressed cache it has: 4 is a row for every four tokens with an indexer
//! beside it, 128 a row for every 128, 0 none. Each compressed cache has a 32-bit state per sequence in which the rows under
//! way are gathered. Every sequence has its own caches, whether a unified cache was asked for or not.
//!
//! Source: `src/llama-kv-cache-dsv4.cpp` (constructors of `llama_kv_cache_dsv4` and `llama_dsv4_comp_state`),
//! `src/models/deepseek4.cpp` (`load_arch_hparams`), llama-cpp-sys-2 0.1.161. No load was compared.

use alloc::vec::Vec;

use super::{
    buffer::{Machine, Place, Places},
    cache::Caches,
    context::{CELL_PADDING, Context},
    options::Parameters,
    placement::Placement,
};
use crate::{
    error::Result,
    model::{Hyperparameters, Model},
    quant::GgmlType,
};

/// `DSV4_CSA_RATIO`.
const FINE_RATIO: u32 = 4;
/// `DSV4_HCA_RATIO`.
const COARSE_RATIO: u32 = 128;

/// Whether the architecture has these caches.
#[must_use]
pub fn applies(hp: &Hyperparameters) -> bool {
    hp.architecture == "deepseek4"
}

/// Whether the ratios are unknown, so that every layer counts with the larger of each.
#[must_use]
pub fn is_bound(hp: &Hyperparameters) -> bool {
    applies(hp) && hp.compress_ratios.is_none()
}

/// What a tensor of these caches is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Raw keys of the window.
    Window,
    /// Compressed keys.
    Compressed,
    /// Compressed keys of the indexer.
    Indexer,
    /// Rows under way.
    State,
}

/// One tensor of a layer, in one sequence's share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row {
    /// What it is for.
    pub purpose: Purpose,
    /// Elements of a row.
    pub elements: u64,
    /// Its type.
    pub ty: GgmlType,
    /// Rows for each sequence.
    pub rows: u64,
}

/// The tensors of layer `layer`, prediction layers included.
#[must_use]
pub fn rows(hp: &Hyperparameters, parameters: &Parameters, context: &Context, layer: u32) -> Vec<Row> {
    let key = u64::from(hp.key_length_at(layer, true));
    let indexer = u64::from(hp.indexer_key_length.unwrap_or(0));
    let ty = parameters.type_k;
    let cached = |purpose, elements, rows| Row { purpose, elements, ty, rows };
    // Keys and scores.
    let state = |elements, rows: u32| Row { purpose: Purpose::State, elements, ty: GgmlType::F32, rows: 2 * u64::from(rows) };
    let kv_heads = u64::from(hp.head_count_kv.at(layer));
    let mut tensors = Vec::with_capacity(6);
    tensors.push(cached(Purpose::Window, kv_heads * key, window_cells(hp, context)));
    let is_main = layer < hp.main_block_count();
    let (fine, coarse) = match &hp.compress_ratios {
        Some(ratios) => {
            let ratio = ratios.get(layer as usize).copied().unwrap_or(0);
            (ratio == FINE_RATIO, ratio == COARSE_RATIO)
        }
        None => (is_main, is_main),
    };
    let known = hp.compress_ratios.is_some();
    if fine {
        let cells = compressed_cells(context, FINE_RATIO);
        tensors.push(cached(Purpose::Compressed, kv_heads * key, cells));
        tensors.push(cached(Purpose::Indexer, indexer, cells));
        if is_main {
            tensors.push(state(2 * key, 2 * FINE_RATIO));
            tensors.push(state(2 * indexer, 2 * FINE_RATIO));
        }
    }
    if coarse {
        // Where the ratio is unknown, the finer cache is the larger one and counted already.
        if known {
            tensors.push(cached(Purpose::Compressed, kv_heads * key, compressed_cells(context, COARSE_RATIO)));
        }
        if is_main {
            tensors.push(state(key, COARSE_RATIO));
        }
    }
    tensors
}

/// Cells of a sequence's window: never shared between sequences.
fn window_cells(hp: &Hyperparameters, context: &Context) -> u64 {
    let all = context.cells();
    if context.swa_full {
        return all;
    }
    let window = u64::from(hp.sliding_window.unwrap_or(0));
    window.saturating_add(context.n_ubatch).min(all).next_multiple_of(CELL_PADDING)
}

fn compressed_cells(context: &Context, ratio: u32) -> u64 {
    context.cells().div_ceil(ratio.into()).max(1).next_multiple_of(CELL_PADDING)
}

/// Allocates the caches of every layer.
///
/// # Errors
/// As [`cache::allocate`](super::cache::allocate).
pub fn allocate(
    model: &Model,
    parameters: &Parameters,
    context: &Context,
    placement: &Placement,
    machine: Machine<'_>,
) -> Result<Caches> {
    let empty = || Places::empty(placement.device_count());
    let mut caches = Caches { full: empty(), windowed: empty(), indexer: empty() };
    each(model, parameters, context, placement, machine, |purpose, place, bytes| match purpose {
        Purpose::Window => caches.windowed.add(place, bytes),
        Purpose::Compressed => caches.full.add(place, bytes),
        Purpose::Indexer => caches.indexer.add(place, bytes),
        Purpose::State => {}
    })?;
    Ok(caches)
}

/// Allocates the states of the rows under way.
///
/// # Errors
/// As [`allocate`].
pub fn allocate_states(
    model: &Model,
    parameters: &Parameters,
    context: &Context,
    placement: &Placement,
    machine: Machine<'_>,
) -> Result<Places> {
    let mut states = Places::empty(placement.device_count());
    each(model, parameters, context, placement, machine, |purpose, place, bytes| {
        if purpose == Purpose::State {
            states.add(place, bytes);
        }
    })?;
    Ok(states)
}

fn each(
    model: &Model,
    parameters: &Parameters,
    context: &Context,
    placement: &Placement,
    machine: Machine<'_>,
    mut add: impl FnMut(Purpose, Place, u128),
) -> Result<()> {
    let hp = model.hyperparameters();
    for layer in 0..hp.block_count {
        let place = if parameters.offload_kqv { placement.layer(layer) } else { Place::Host };
        for row in rows(hp, parameters, context, layer).into_iter().filter(|row| row.elements > 0) {
            let bytes = u128::from(row.ty.row_bytes(row.elements)?.get()) * u128::from(row.rows) * u128::from(context.n_seq_max);
            // A state is two tensors, of keys and of scores.
            let tensors = if row.purpose == Purpose::State { 2 } else { 1 };
            for _ in 0..tensors {
                add(row.purpose, place, machine.rule(place).tensor(bytes / tensors, row.ty, row.elements)?);
            }
        }
    }
    Ok(())
}
