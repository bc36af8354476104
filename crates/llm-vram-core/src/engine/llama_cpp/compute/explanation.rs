//! What a buffer holds when it is at its largest.

use alloc::{format, string::String, vec::Vec};

use serde::Serialize;

use super::{
    allocator::Observer,
    graph::Graph,
    tensor::{BackendIndex, Op, TensorId},
};
use crate::units::{ByteUnit, Bytes};

/// A buffer at its largest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Peak {
    /// What is being computed at that moment, for example `ffn_up of layer 3`.
    pub stage: String,
    /// What it holds, the largest first.
    pub live: Vec<LiveTensor>,
    /// Space between live tensors that nothing uses at that moment.
    pub holes: Bytes,
    /// The size of the buffer: live tensors and holes.
    pub total: Bytes,
}

/// A tensor that occupies part of a buffer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LiveTensor {
    /// What it is: products by their matrix, other results by their operation.
    pub name: String,
    /// Its size with padding.
    pub bytes: Bytes,
}

/// Tensors that the reading of a peak names one by one.
const NAMED: usize = 6;

impl Peak {
    /// The peak as a sum in words: what is being computed, the largest tensors by name, the rest, the holes.
    ///
    /// Equal tensors are counted together; sizes are binary and rounded to what a reader needs, the sum of
    /// [`live`](Self::live) and [`holes`](Self::holes) is exact.
    #[must_use]
    pub fn in_words(&self) -> String {
        let shown = |bytes: u64| Bytes::new(bytes).unwrap_or(Bytes::MAX).display(ByteUnit::GiB);
        let mut groups: Vec<(&str, u64, u64)> = Vec::new();
        for tensor in &self.live {
            let (name, bytes) = (tensor.name.as_str(), tensor.bytes.get());
            match groups.iter_mut().find(|(known, each, _)| *known == name && *each == bytes) {
                Some((.., count)) => *count += 1,
                None => groups.push((name, bytes, 1)),
            }
        }
        let mut parts: Vec<String> = groups
            .iter()
            .take(NAMED)
            .map(|&(name, bytes, count)| match count {
                1 => format!("{} for {name}", shown(bytes)),
                _ => format!("{count} times {} for {name}", shown(bytes)),
            })
            .collect();
        let rest = groups.iter().skip(NAMED).map(|&(_, bytes, count)| bytes.saturating_mul(count)).fold(0, u64::saturating_add);
        let others: u64 = groups.iter().skip(NAMED).map(|&(.., count)| count).sum();
        if others > 0 {
            parts.push(format!("{} for {others} smaller tensors", shown(rest)));
        }
        if self.holes.get() > 0 {
            parts.push(format!("{} that lie free between them", shown(self.holes.get())));
        }
        format!("largest at {}: {} = {}", self.stage, shown(self.total.get()), parts.join(" + "))
    }
}

/// Remembers the last moment at which each pool grew.
#[derive(Debug)]
pub(super) struct Peaks {
    pools: Vec<Moment>,
}

#[derive(Debug, Default, Clone)]
struct Moment {
    tensor: u32,
    high_water: u64,
    live: Vec<(TensorId, u64)>,
}

impl Observer for Peaks {
    fn raised(&mut self, tensor: TensorId, pool: BackendIndex, high_water: u64, live: &dyn Fn() -> Vec<(TensorId, u64)>) {
        if let Some(moment) = self.pools.get_mut(usize::from(pool)) {
            *moment = Moment { tensor: tensor.0, high_water, live: live() };
        }
    }
}

impl Peaks {
    pub(super) fn new(pools: usize) -> Self {
        Self { pools: alloc::vec![Moment::default(); pools] }
    }

    pub(super) fn describe(self, graph: &Graph) -> Vec<Peak> {
        self.pools.into_iter().map(|moment| moment.describe(graph)).collect()
    }
}

impl Moment {
    fn describe(mut self, graph: &Graph) -> Peak {
        self.live.sort_by_key(|&(id, bytes)| (core::cmp::Reverse(bytes), id.0));
        let held: u64 = self.live.iter().map(|&(_, bytes)| bytes).sum();
        let bytes = |bytes| Bytes::new(bytes).unwrap_or(Bytes::MAX);
        Peak {
            stage: if self.high_water == 0 { String::from("nothing") } else { name(graph, TensorId(self.tensor)) },
            live: self.live.iter().map(|&(id, size)| LiveTensor { name: name(graph, id), bytes: bytes(size) }).collect(),
            holes: bytes(self.high_water.saturating_sub(held)),
            total: bytes(self.high_water),
        }
    }
}

/// What a tensor is, and of which layer.
fn name(graph: &Graph, id: TensorId) -> String {
    let tensor = graph.at(id);
    let what = match tensor.op {
        Op::Leaf if !tensor.label.is_empty() => String::from(tensor.label),
        Op::Leaf => String::from("copy"),
        // A product is named after its matrix.
        Op::MulMat | Op::MulMatId | Op::GetRows => {
            let label = graph.at(tensor.source(0)).label;
            if label.is_empty() { String::from(tensor.op.name()) } else { String::from(label.trim_end_matches(".weight")) }
        }
        op => String::from(words(op)),
    };
    let is_outside = tensor.block == u16::MAX || (tensor.op == Op::Leaf && !tensor.is_weight());
    if is_outside { what } else { format!("{what} of layer {}", tensor.block) }
}

/// What the common operations give; rarer ones keep ggml's name.
const fn words(op: Op) -> &'static str {
    match op {
        Op::Add => "sum",
        Op::Mul => "product",
        Op::Glu => "gated activation",
        Op::Unary | Op::Sigmoid => "activation",
        Op::RmsNorm | Op::Norm => "norm",
        Op::Rope => "rotated heads",
        Op::Concat => "joined rows",
        Op::FlashAttention => "attention",
        Op::SoftMax => "attention weights",
        Op::Dup | Op::Cont => "copy",
        _ => op.name(),
    }
}
