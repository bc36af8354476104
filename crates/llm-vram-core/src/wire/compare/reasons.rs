//! Why a part differs between two sides, in a sentence made of the facts that the figures rest on.

use alloc::{
    format,
    string::{String, ToString},
    vec::Vec,
};

use super::column::Side;
use crate::{
    engine::habits::{States, Working},
    units::{ByteUnit, Bytes, grouped},
};

/// The reason for the difference in `part`.
pub(super) fn why(part: &str, a: &Side, b: &Side) -> String {
    let reasons = match part {
        "weights" => weights(a, b),
        "kv_cache" => cache(a, b),
        "kv_pool" => pool(a, b),
        "recurrent_state" => states(a, b),
        "compute_buffer" => compute(a, b),
        "overhead" => overhead(a, b),
        "host" => host(a, b),
        _ => total(a, b),
    };
    if reasons.is_empty() { rest(part, a, b) } else { reasons.join("; ") }
}

/// What differs in the question itself and explains every part.
fn asked(a: &Side, b: &Side, reasons: &mut Vec<String>) {
    if a.answer.model != b.answer.model {
        reasons.push(format!("another model: {} and {}", a.answer.model, b.answer.model));
    }
}

fn weights(a: &Side, b: &Side) -> Vec<String> {
    let mut reasons = Vec::new();
    asked(a, b, &mut reasons);
    if a.answer.quant != b.answer.quant {
        reasons.push(format!("{} and {}", stored_bits(a), stored_bits(b)));
        let (left_a, left_b) = (a.unquantised, b.unquantised);
        let larger = if left_a > left_b { a } else { b };
        if left_a.max(left_b).saturating_sub(left_a.min(left_b)) > larger.answer.weights_bytes.share(0.02) {
            reasons.push(format!(
                "{} leaves {} unquantised, {} {}",
                larger.answer.quant,
                gb(left_a.max(left_b)),
                if left_a > left_b { &b.answer.quant } else { &a.answer.quant },
                gb(left_a.min(left_b)),
            ));
        }
    }
    if a.habits.embedding_on_host != b.habits.embedding_on_host {
        let side = if a.habits.embedding_on_host { a } else { b };
        let kept = side.estimate.weights_bytes.saturating_sub(side.answer.weights_bytes);
        let how_much = if kept > Bytes::ZERO { format!(" ({})", gb(kept)) } else { String::new() };
        reasons.push(format!("{} keeps the input embedding{how_much} in host memory", side.answer.engine));
    }
    if a.habits.copies_tied_output != b.habits.copies_tied_output && a.answer.model == b.answer.model {
        let side = if a.habits.copies_tied_output { a } else { b };
        reasons.push(format!("{} puts a second copy of the tied embedding on the device as output", side.answer.engine));
    }
    for side in [a, b] {
        replicated(side, &mut reasons);
    }
    reasons
}

/// Tensors that are on several devices, and what a rank holds beside its tensors.
fn replicated(side: &Side, reasons: &mut Vec<String>) {
    let devices = side.estimate.devices.iter().filter(|device| device.weights_bytes > Bytes::ZERO).count();
    let beyond = side.answer.weights_bytes.saturating_sub(side.estimate.weights_bytes);
    if devices > 1 && beyond > side.estimate.weights_bytes.share(0.01) {
        reasons.push(format!("{} holds {} twice or more over {devices} devices", side.answer.engine, gb(beyond)));
    }
    let steps = side.estimate.derivation.iter().filter(|step| step.id.ends_with(".weights"));
    for input in steps.flat_map(|step| &step.inputs) {
        let what = match input.name {
            "absorbed_copies" => "copies of absorbed projections",
            "rope_tables" => "tables of rotary angles",
            _ => continue,
        };
        // Amounts in derivations are whole bytes below 2^53.
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let bytes = Bytes::new(input.value as u64).unwrap_or(Bytes::ZERO);
        if bytes > side.answer.weights_bytes.share(0.005) {
            reasons.push(format!("{} makes {what}, {} on a rank", side.answer.engine, gb(bytes)));
        }
    }
}

fn stored_bits(side: &Side) -> String {
    match side.answer.bits_per_weight {
        Some(bits) => format!("{} stores {bits:.2} bits per weight", side.answer.quant),
        None => format!("{} is another format", side.answer.quant),
    }
}

fn cache(a: &Side, b: &Side) -> Vec<String> {
    let mut reasons = Vec::new();
    asked(a, b, &mut reasons);
    let same_request = (a.answer.context, a.answer.concurrency) == (b.answer.context, b.answer.concurrency);
    if !same_request {
        reasons.push(format!(
            "{} tokens × {} and {} × {}",
            grouped(a.answer.context),
            a.answer.concurrency,
            grouped(b.answer.context),
            b.answer.concurrency
        ));
    }
    if a.cache_types != b.cache_types {
        reasons.push(format!("cached as {} and {}", a.cache_types.join("/"), b.cache_types.join("/")));
    }
    if same_request && a.habits.cached_tokens != b.habits.cached_tokens {
        reasons.push(format!("a layer that attends to everything has room for {} and for {}", room(a), room(b)));
    }
    if a.has_windows || b.has_windows {
        match (a.habits.window_tokens, b.habits.window_tokens) {
            (x, y) if x == y => {}
            (Some(x), Some(y)) => reasons.push(format!(
                "windowed layers have room for {} tokens in {} and {} in {}",
                grouped(x),
                a.answer.label,
                grouped(y),
                b.answer.label
            )),
            (Some(x), None) => reasons.push(windows(a, x, b)),
            (None, Some(y)) => reasons.push(windows(b, y, a)),
            (None, None) => {}
        }
    }
    if (a.has_latents || b.has_latents) && a.habits.expands_latent != b.habits.expands_latent {
        let (expands, keeps) = if a.habits.expands_latent { (a, b) } else { (b, a) };
        reasons.push(format!(
            "{} caches latent attention as full heads, {} its compressed rows",
            expands.answer.engine, keeps.answer.engine
        ));
    }
    if in_cache(a) != in_cache(b) {
        let side = if in_cache(a) { a } else { b };
        reasons.push(format!("{} keeps recurrent states in pages of its cache", side.answer.engine));
    }
    for side in [a, b] {
        // Heads that do not divide are whole on each rank: the devices then hold more than all layers cache.
        if let Some(warning) =
            side.answer.warnings.iter().find(|w| matches!(w.code, "kv_heads_replicated" | "latent_cache_replicated"))
        {
            reasons.push(format!("{}: {}", side.answer.engine, warning.message));
        }
    }
    reasons
}

fn windows(keeps: &Side, tokens: u64, ignores: &Side) -> String {
    format!(
        "{} gives windowed layers room for {} tokens, {} caches the whole context in them",
        keeps.answer.label,
        grouped(tokens),
        ignores.answer.label
    )
}

/// How many tokens a layer has room for, and why not exactly those asked.
fn room(side: &Side) -> String {
    let step = side.habits.cache_step;
    let tokens = grouped(side.habits.cached_tokens);
    if step.tokens > 1 {
        format!("{tokens} tokens in {} (steps of {} {})", side.answer.label, grouped(step.tokens), step.unit)
    } else {
        format!("{tokens} tokens in {}", side.answer.label)
    }
}

fn in_cache(side: &Side) -> bool {
    side.has_states && side.habits.states == States::InCache
}

fn pool(a: &Side, b: &Side) -> Vec<String> {
    let mut reasons: Vec<String> = Vec::new();
    for side in [a, b] {
        reasons.push(match (side.answer.kv_pool_tokens, side.answer.kv_pool_concurrency) {
            (Some(tokens), Some(requests)) => format!(
                "{} takes a pool and fills it{}: {} tokens, {requests:.1} requests of this length",
                side.answer.label,
                share_of(side),
                grouped(tokens)
            ),
            _ => format!("{} takes no pool, only the cache of what was asked", side.answer.label),
        });
    }
    reasons
}

/// The option that sizes the pool.
fn share_of(side: &Side) -> String {
    let sizing = ["gpu_memory_utilization", "mem_fraction_static", "free_gpu_memory_fraction"];
    let option = side.estimate.workload.options.iter().find(|option| sizing.contains(&option.name));
    option.map_or_else(String::new, |option| format!(" ({} {})", option.name, option.value))
}

fn states(a: &Side, b: &Side) -> Vec<String> {
    let mut reasons = Vec::new();
    asked(a, b, &mut reasons);
    if a.answer.concurrency != b.answer.concurrency {
        reasons.push(format!("{} requests and {}", a.answer.concurrency, b.answer.concurrency));
    }
    if a.habits.states != b.habits.states {
        let of = |side: &Side| {
            let how = match side.habits.states {
                States::Wide => "keeps states in 32 bits",
                States::Typed => "keeps states in the types of the model's class",
                States::InCache => "keeps states in pages of its cache",
            };
            format!("{} {how}", side.answer.engine)
        };
        reasons.push(format!("{}, {}", of(a), of(b)));
    }
    reasons
}

fn compute(a: &Side, b: &Side) -> Vec<String> {
    let mut reasons = Vec::new();
    asked(a, b, &mut reasons);
    if a.habits.working != b.habits.working {
        reasons.push(format!("{} {}, {} {}", a.answer.label, working(a), b.answer.label, working(b)));
    }
    if a.habits.batch != b.habits.batch {
        reasons.push(batches(a, b));
    }
    if reasons.is_empty() && a.answer.context != b.answer.context {
        reasons.push(format!(
            "the mask grows with the context, {} and {} tokens",
            grouped(a.answer.context),
            grouped(b.answer.context)
        ));
    }
    if a.answer.hardware.len() != b.answer.hardware.len() {
        reasons.push(format!("{} devices and {}, a buffer on each", a.answer.hardware.len(), b.answer.hardware.len()));
    }
    reasons
}

fn batches(a: &Side, b: &Side) -> String {
    let of = |side: &Side| {
        let batch = side.habits.batch;
        format!("{} computes {} tokens at once ({})", side.answer.label, grouped(batch.tokens), batch.option)
    };
    format!("{}, {}", of(a), of(b))
}

const fn working(side: &Side) -> &'static str {
    match side.habits.working {
        Working::Planned => "plans its buffer operation by operation and reserves it",
        Working::Profiled => "measures a forward pass at start",
        Working::LeftOver => "measures nothing and leaves a share of memory free for it",
        Working::Transient => "reserves nothing: arrays come and go with each step of the prompt",
        Working::Built => "takes the buffer that its compiled engine asks for",
    }
}

fn overhead(a: &Side, b: &Side) -> Vec<String> {
    let of = |side: &Side| {
        let mut terms: Vec<_> = side.estimate.overhead.iter().filter(|term| term.bytes > Bytes::ZERO).collect();
        terms.sort_by_key(|term| core::cmp::Reverse(term.bytes));
        if terms.is_empty() {
            return format!("{} has none beyond its buffers", side.answer.label);
        }
        let listed: Vec<String> =
            terms.iter().take(3).map(|term| format!("{} {}", term.name.replace('_', " "), gb(term.bytes))).collect();
        format!("{} has {}", side.answer.label, listed.join(", "))
    };
    alloc::vec![of(a), of(b)]
}

fn host(a: &Side, b: &Side) -> Vec<String> {
    let mut reasons = Vec::new();
    asked(a, b, &mut reasons);
    for side in [a, b] {
        let kept = side.estimate.weights_bytes.saturating_sub(side.answer.weights_bytes);
        if kept > Bytes::ZERO {
            reasons.push(format!("{} keeps {} of the weights in host memory", side.answer.label, gb(kept)));
        } else if side.answer.host_bytes == Bytes::ZERO && a.answer.host_bytes != b.answer.host_bytes {
            reasons.push(format!("{} is not calculated to need any beside the process itself", side.answer.label));
        }
    }
    if reasons.len() < 2 && a.habits.batch != b.habits.batch && a.habits.working == b.habits.working {
        reasons.push(batches(a, b));
    }
    reasons
}

/// The part that decides the difference of the totals.
fn total(a: &Side, b: &Side) -> Vec<String> {
    let cache = |side: &Side| side.answer.kv_pool_bytes.unwrap_or(side.answer.kv_cache_bytes);
    let parts = [
        ("the weights", a.answer.weights_bytes, b.answer.weights_bytes),
        ("the cache", cache(a), cache(b)),
        ("the recurrent state", a.answer.recurrent_state_bytes, b.answer.recurrent_state_bytes),
        ("the compute buffer", a.answer.compute_buffer_bytes, b.answer.compute_buffer_bytes),
        ("the overhead", a.answer.overhead_bytes, b.answer.overhead_bytes),
    ];
    let apart = |x: Bytes, y: Bytes| x.max(y).saturating_sub(x.min(y));
    let Some((name, x, y)) = parts.into_iter().max_by_key(|(_, x, y)| apart(*x, *y)) else { return Vec::new() };
    let pooled = name == "the cache" && a.answer.kv_pool_bytes.is_some() != b.answer.kv_pool_bytes.is_some();
    let how = if pooled { ", a pool on one side" } else { "" };
    alloc::vec![format!("mostly {name}{how}: {} and {}", gb(x), gb(y))]
}

/// Where no single fact differs: the versions whose rules answer, and the formulas where those are not the same.
fn rest(part: &str, a: &Side, b: &Side) -> String {
    let formula = |side: &Side| {
        let about = |id: &str| id.contains(part) || part == "weights" && id.ends_with("weights");
        side.estimate.derivation.iter().rev().find(|step| about(step.id)).map(|step| step.formula)
    };
    let rules = |side: &Side| format!("{} {}", side.answer.engine, side.answer.engine_version);
    let formulas = match (formula(a), formula(b)) {
        (Some(x), Some(y)) if x != y => format!(": {x}, against {y}"),
        _ => String::new(),
    };
    if rules(a) == rules(b) {
        format!("the options differ in detail{formulas}")
    } else {
        format!("the rules of {} and {} differ in detail{formulas}", rules(a), rules(b))
    }
}

fn gb(bytes: Bytes) -> String {
    bytes.display(ByteUnit::GB).to_string()
}
