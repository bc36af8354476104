//! Shapes of a file's tensors against what its metadata says.

use alloc::{format, string::String, vec::Vec};

use super::{
    architectures,
    facts::block_and_stem,
    header::{Header, TensorInfo},
};
use crate::{
    error::{Error, ErrorKind, Result},
    model::{Attention, Block, FeedForward, Heads, Hyperparameters, Warning},
};

/// Compares every tensor whose shape follows from the metadata.
///
/// A block beyond the number of blocks is an error in any architecture.
pub(super) fn check(header: &Header<'_>, hp: &Hyperparameters, blocks: &[Block], warnings: &mut Vec<Warning>) -> Result<()> {
    let strict = architectures::is_plain(&hp.architecture);
    let mut first: Option<String> = None;
    for tensor in header.tensors() {
        let expected = match block_and_stem(tensor.name) {
            None => outside_blocks(tensor.name, hp),
            Some((number, stem)) => {
                let Some(block) = blocks.get(number as usize) else {
                    let message =
                        format!("tensor `{}` belongs to layer {number}, the metadata says {} layers", tensor.name, blocks.len());
                    return Err(Error::new(ErrorKind::Contradiction, message).field(tensor.name));
                };
                inside_block(stem, hp, block)
            }
        };
        for expectation in expected.into_iter().flatten() {
            if expectation.holds(tensor) {
                continue;
            }
            let mismatch = expectation.mismatch(tensor);
            if strict {
                return Err(Error::new(ErrorKind::Contradiction, mismatch).field(tensor.name));
            }
            first.get_or_insert(mismatch);
        }
    }
    if let Some(mismatch) = first {
        warnings.push(Warning::new("shape_differs", format!("{}; the file's tensors count", mismatch)));
    }
    Ok(())
}

/// One dimension of a tensor and the values that the metadata allows for it.
struct Expectation {
    dimension: usize,
    allowed: [u64; 2],
    because: &'static str,
}

impl Expectation {
    fn holds(&self, tensor: &TensorInfo<'_>) -> bool {
        tensor.shape.get(self.dimension).is_some_and(|found| self.allowed.contains(found))
    }

    #[cold]
    fn mismatch(&self, tensor: &TensorInfo<'_>) -> String {
        let [one, other] = self.allowed;
        let either = if one == other { format!("{one}") } else { format!("{one} or {other}") };
        format!("tensor `{}` has the shape {:?}: {} says {either}", tensor.name, tensor.shape, self.because)
    }
}

type Expected = [Option<Expectation>; 2];

const NOTHING: Expected = [None, None];

fn only(dimension: usize, value: u64, because: &'static str) -> Expected {
    [Some(Expectation { dimension, allowed: [value; 2], because }), None]
}

fn both(first: (usize, [u64; 2], &'static str), second: (usize, u64, &'static str)) -> Expected {
    [
        Some(Expectation { dimension: first.0, allowed: first.1, because: first.2 }),
        Some(Expectation { dimension: second.0, allowed: [second.1; 2], because: second.2 }),
    ]
}

fn outside_blocks(name: &str, hp: &Hyperparameters) -> Expected {
    let row = (0, u64::from(hp.embedding_length), "embedding_length");
    match name {
        "token_embd.weight" | "output_norm.weight" => only(row.0, row.1, row.2),
        "output.weight" => both((1, [u64::from(hp.vocab_size); 2], "the token embedding"), row),
        _ => NOTHING,
    }
}

fn inside_block(stem: &str, hp: &Hyperparameters, block: &Block) -> Expected {
    let row = (0, u64::from(hp.embedding_length), "embedding_length");
    let experts = |rows: usize| only(rows, u64::from(hp.expert_count), "expert_count");
    match stem {
        "attn_norm.weight" => return only(row.0, row.1, row.2),
        "ffn_gate_exps.weight" | "ffn_up_exps.weight" | "ffn_down_exps.weight" | "ffn_gate_up_exps.weight" => return experts(2),
        "ffn_gate_inp.weight" => return experts(1),
        _ => {}
    }
    let attention = match block.attention {
        Attention::Heads(heads) if block.recurrent.is_none() => heads_shape(stem, heads, row),
        Attention::Latent(latent) if stem == "attn_kv_a_mqa.weight" => {
            let rows = u64::from(latent.kv_lora_rank) + u64::from(latent.rope_length);
            Some(both((1, [rows; 2], "kv_lora_rank + rope.dimension_count"), row))
        }
        _ => None,
    };
    attention.unwrap_or_else(|| feed_forward_shape(stem, block.feed_forward))
}

fn heads_shape(stem: &str, heads: Heads, row: (usize, u64, &'static str)) -> Option<Expected> {
    let width = |count: u32, length: u32| u64::from(count) * u64::from(length);
    let queries = width(heads.head_count, heads.key_length);
    let keys = width(heads.head_count_kv, heads.key_length);
    let values = width(heads.head_count_kv, heads.value_length);
    Some(match stem {
        // Twice as wide where a gate for the output is computed along (Qwen3-Next).
        "attn_q.weight" => both((1, [queries, 2 * queries], "head_count × key_length"), row),
        "attn_k.weight" => both((1, [keys; 2], "head_count_kv × key_length"), row),
        "attn_v.weight" => both((1, [values; 2], "head_count_kv × value_length"), row),
        "attn_qkv.weight" => both((1, [queries + keys + values; 2], "the widths of queries, keys and values together"), row),
        "attn_output.weight" => {
            let inner = width(heads.head_count, heads.value_length);
            both((0, [inner; 2], "head_count × value_length"), (1, row.1, row.2))
        }
        _ => return None,
    })
}

fn feed_forward_shape(stem: &str, feed_forward: FeedForward) -> Expected {
    let FeedForward::Dense { length } = feed_forward else { return NOTHING };
    let length = u64::from(length);
    match stem {
        // Gate and up may be one matrix (Phi-3, GLM-4).
        "ffn_up.weight" => {
            [Some(Expectation { dimension: 1, allowed: [length, 2 * length], because: "feed_forward_length" }), None]
        }
        "ffn_gate.weight" => only(1, length, "feed_forward_length"),
        "ffn_down.weight" => only(0, length, "feed_forward_length"),
        _ => NOTHING,
    }
}
