//! The weights of one rank, as PyTorch counts them after loading.

use core::ops::Range;

use crate::{
    error::Result,
    model::{Attention, Block, Latent, Model, Tensor},
    units::Bytes,
};

use super::{
    Parallel,
    allocator::Allocator,
    matrix::{Loaded, Matrix},
    placement::{Kind, Module, Placement, Sharing, placement},
};

/// Vocabularies are padded to a multiple of this before they are divided.
/// Source: vLLM, `layers/vocab_parallel_embedding.py` (`DEFAULT_VOCAB_PADDING_SIZE`).
const VOCABULARY_PADDING: u64 = 64;

/// Gemma 3 models of this trained length reach it by linear RoPE scaling, whose table is that much longer.
/// Source: their `config.json` (`rope_scaling`: `linear`, factor 8); vLLM,
/// `layers/rotary_embedding/linear_scaling_rope.py`.
const GEMMA3_SCALED_CONTEXT: u64 = 131_072;
const GEMMA3_ROPE_FACTOR: u64 = 8;

/// What the weights of one rank take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RankWeights {
    /// What the allocator holds: everything below, rounded as it rounds.
    pub allocated: Bytes,
    /// The tensors' own bytes.
    pub tensors: Bytes,
    /// Of these, tables of rotary embeddings.
    pub rope_tables: Bytes,
    /// Of these, the second copy of the latent attention's decompression matrices.
    pub absorbed: Bytes,
    /// Of these, key and value projections that other ranks hold too.
    pub replicated_kv: Bytes,
}

/// The kernels that run experts in MXFP4; they pad differently.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mxfp4Kernel {
    /// Triton kernels (compute capability 9.0 to below 11.0).
    Triton,
    /// Marlin (all others).
    Marlin,
}

impl Mxfp4Kernel {
    /// The kernels that vLLM chooses for a compute capability times ten.
    /// Source: vLLM 0.19, `layers/quantization/mxfp4.py` (`get_mxfp4_backend`).
    #[must_use]
    pub fn of(compute_capability: Option<u32>) -> Self {
        if compute_capability.is_none_or(|cc| (90..110).contains(&cc)) { Self::Triton } else { Self::Marlin }
    }
}

/// The weights of a rank of the stage that holds `layers`.
///
/// The order of allocation is the servers': embedding, layer by layer the modules, head, tables.
///
/// Checked against vLLM's "Model loading took … GiB" of 0.6 to 0.19.
///
/// # Errors
/// [`ErrorKind::Overflow`](crate::ErrorKind::Overflow) above 2^53 - 1 bytes.
pub fn rank_weights(
    model: &Model,
    loaded: &Loaded,
    parallel: &Parallel,
    layers: &Range<u32>,
    kernel: Mxfp4Kernel,
) -> Result<RankWeights> {
    let hp = model.hyperparameters();
    let (first, last) = (layers.start == 0, layers.end == hp.main_block_count());
    let mut rank = Rank::new(loaded.matrix, *parallel, kernel);
    let stored = |index: usize| loaded.stored.get(index).copied().unwrap_or(0);

    for (position, tensor) in model.tensors().iter().enumerate().filter(|(_, tensor)| tensor.block.is_none()) {
        let Some(place) = placement(tensor, None) else { continue };
        // A tied head reads the embedding, which the last stage then holds too.
        let here = match place.module {
            Module::Embedding => first || (last && hp.facts.tied),
            Module::Head => last,
            _ => {
                if tensor.stem.starts_with("output") {
                    last
                } else {
                    first
                }
            }
        };
        if here {
            rank.place(tensor, place, None, stored(position));
        }
    }
    rank.flush();

    let mut index = None;
    for (position, tensor) in model.tensors().iter().enumerate() {
        let Some(block) = tensor.block.filter(|block| layers.contains(block)) else { continue };
        if index != Some(block) {
            rank.end_block(index.and_then(|index| model.blocks().get(index as usize)));
            index = Some(block);
        }
        let description = model.blocks().get(block as usize);
        if let Some(place) = placement(tensor, description) {
            rank.place(tensor, place, description, stored(position));
        }
    }
    rank.end_block(index.and_then(|index| model.blocks().get(index as usize)));

    let rope = rope_tables(model, layers);
    rope.into_iter().for_each(|bytes| rank.allocator.add(bytes));
    Ok(RankWeights {
        allocated: Bytes::new(rank.allocator.allocated())?,
        tensors: Bytes::new(rank.allocator.requested())?,
        rope_tables: Bytes::new(rope[0].saturating_add(rope[1]))?,
        absorbed: Bytes::new(rank.absorbed)?,
        replicated_kv: Bytes::new(rank.replicated_kv)?,
    })
}

/// A module's allocation while its tensors are gathered.
#[derive(Debug, Clone, Copy, Default)]
struct Gathered {
    outputs: u64,
    inputs: u64,
    copies: u64,
    stored: u64,
    kind: Option<Kind>,
}

struct Rank {
    matrix: Matrix,
    parallel: Parallel,
    kernel: Mxfp4Kernel,
    allocator: Allocator,
    modules: [Gathered; Module::COUNT],
    absorbed: u64,
    replicated_kv: u64,
}

impl Rank {
    fn new(matrix: Matrix, parallel: Parallel, kernel: Mxfp4Kernel) -> Self {
        Self {
            matrix,
            parallel,
            kernel,
            allocator: Allocator::default(),
            modules: [Gathered::default(); Module::COUNT],
            absorbed: 0,
            replicated_kv: 0,
        }
    }

    fn place(&mut self, tensor: &Tensor, place: Placement, block: Option<&Block>, stored: u64) {
        let whole = dimensions(tensor, place.sharing);
        let share = self.share(whole, tensor, place.sharing, block);
        if place.sharing == Sharing::KeyValueHeads {
            // What the ranks hold together beyond one whole copy, spread over them.
            let surplus = (share.outputs * self.parallel.tensor).saturating_sub(whole.outputs) / self.parallel.tensor;
            self.replicated_kv = self.replicated_kv.saturating_add(surplus.saturating_mul(whole.inputs).saturating_mul(2));
        }
        let stored = scaled(stored, share.elements(), tensor.elements());
        if place.module == Module::Alone {
            let bytes = Gathered { stored, kind: Some(place.kind), ..share };
            return self.emit(bytes, place.module);
        }
        let Some(gathered) = self.modules.get_mut(place.module as usize) else { return };
        *gathered = Gathered {
            outputs: gathered.outputs.saturating_add(share.outputs),
            inputs: gathered.inputs.max(share.inputs),
            copies: gathered.copies.max(share.copies),
            stored: gathered.stored.saturating_add(stored),
            kind: Some(place.kind),
        };
    }

    /// A rank's part of a tensor.
    fn share(&self, whole: Gathered, tensor: &Tensor, sharing: Sharing, block: Option<&Block>) -> Gathered {
        let ranks = self.parallel.tensor;
        let divide = |count: u64| count.div_ceil(ranks);
        let heads = match block.map(|block| block.attention) {
            Some(Attention::Heads(heads)) => Some(heads),
            _ => None,
        };
        match sharing {
            Sharing::Replicated => whole,
            Sharing::Column => match heads {
                // One matrix for queries, keys and values: its parts are divided each by its own rule.
                Some(heads) if tensor.stem.starts_with("attn_qkv") => {
                    let query = u64::from(heads.head_count) * u64::from(heads.key_length);
                    let key_value = whole.outputs.saturating_sub(query);
                    let outputs = divide(query) + self.key_value_share(key_value, heads.head_count_kv);
                    Gathered { outputs, ..whole }
                }
                _ => Gathered { outputs: divide(whole.outputs), ..whole },
            },
            Sharing::Row => Gathered { inputs: divide(whole.inputs), ..whole },
            Sharing::KeyValueHeads => match heads {
                Some(heads) => Gathered { outputs: self.key_value_share(whole.outputs, heads.head_count_kv), ..whole },
                None => Gathered { outputs: divide(whole.outputs), ..whole },
            },
            Sharing::Vocabulary => Gathered { outputs: divide(whole.outputs.next_multiple_of(VOCABULARY_PADDING)), ..whole },
            Sharing::ExpertColumn | Sharing::ExpertRow if self.parallel.expert => {
                Gathered { copies: divide(whole.copies), ..whole }
            }
            Sharing::ExpertColumn => Gathered { outputs: divide(whole.outputs), ..whole },
            // The bias of a divided sum is whole on every rank.
            Sharing::ExpertRow if whole.inputs == 1 => whole,
            Sharing::ExpertRow => Gathered { inputs: divide(whole.inputs), ..whole },
        }
    }

    fn key_value_share(&self, outputs: u64, head_count_kv: u32) -> u64 {
        let heads = u64::from(head_count_kv).max(1);
        outputs / heads * self.parallel.heads(heads)
    }

    fn end_block(&mut self, block: Option<&Block>) {
        self.flush();
        let Some(Block { attention: Attention::Latent(latent), .. }) = block else { return };
        for bytes in absorbed_copies(latent, self.parallel.tensor) {
            self.allocator.add(bytes);
            self.absorbed = self.absorbed.saturating_add(bytes);
        }
    }

    /// Allocates the gathered modules in their order.
    fn flush(&mut self) {
        let modules = core::mem::replace(&mut self.modules, [Gathered::default(); Module::COUNT]);
        let (gate_up, down) = (modules[Module::W13 as usize], modules[Module::W2 as usize]);
        let padded = self.matrix == Matrix::Mxfp4 && gate_up.kind.is_some();
        if padded {
            for bytes in mxfp4_experts(gate_up, down, self.kernel) {
                self.allocator.add(bytes);
            }
        }
        for (index, gathered) in modules.into_iter().enumerate() {
            let expert = index >= Module::W13 as usize && index <= Module::W2Bias as usize;
            if gathered.kind.is_some() && !(padded && expert) {
                self.emit(gathered, if expert { Module::W13 } else { Module::Alone });
            }
        }
    }

    fn emit(&mut self, gathered: Gathered, module: Module) {
        let half = if self.matrix == Matrix::Plain(4) { 4 } else { 2 };
        let elements = gathered.elements();
        match (gathered.kind, self.matrix) {
            (_, Matrix::Stored) => self.allocator.add(gathered.stored),
            // Published MXFP4 models hold their experts so and nothing else.
            (Some(Kind::Linear), Matrix::Mxfp4) if module != Module::W13 => self.allocator.add(elements.saturating_mul(2)),
            (Some(Kind::Linear), matrix) => {
                for bytes in matrix.allocations(gathered.outputs, gathered.inputs, gathered.copies) {
                    self.allocator.add(bytes);
                }
            }
            (Some(Kind::Single), _) => self.allocator.add(elements.saturating_mul(4)),
            _ => self.allocator.add(elements.saturating_mul(half)),
        }
    }
}

impl Gathered {
    const fn elements(&self) -> u64 {
        self.outputs.saturating_mul(self.inputs).saturating_mul(self.copies)
    }
}

/// Outputs, inputs and copies of a tensor. GGUF shapes start with the inputs; vectors are all outputs.
fn dimensions(tensor: &Tensor, sharing: Sharing) -> Gathered {
    let [a, b, c, d] = tensor.shape;
    let (outputs, inputs, copies) = match (tensor.stem.as_ref(), sharing, tensor.dimensions()) {
        // The decompression matrices of latent attention, head by head, keys transposed.
        ("attn_k_b.weight", _, 3) => (a.saturating_mul(c), b, 1),
        ("attn_v_b.weight", _, 3) => (b.saturating_mul(c), a, 1),
        (_, Sharing::ExpertColumn | Sharing::ExpertRow, 1 | 2) if tensor.stem.ends_with(".bias") => (a, 1, b),
        (_, Sharing::ExpertColumn | Sharing::ExpertRow, _) => (b, a, c.saturating_mul(d)),
        (_, _, 1) => (a, 1, 1),
        _ => (b.saturating_mul(c).saturating_mul(d), a, 1),
    };
    Gathered { outputs, inputs, copies, ..Gathered::default() }
}

/// `bytes · part / whole`.
fn scaled(bytes: u64, part: u64, whole: u64) -> u64 {
    let scaled = u128::from(bytes) * u128::from(part) / u128::from(whole.max(1));
    u64::try_from(scaled).unwrap_or(u64::MAX)
}

/// The second copy of `kv_b_proj` in 16 bits that the absorbed form of latent attention multiplies with,
/// keys and values.
///
/// Source: vLLM, `layers/mla.py` (`W_UK_T`, `W_UV`, `process_weights_after_loading`). Logs of DeepSeek-V2-Lite
/// and Kimi-VL show the copies for unquantised models too.
fn absorbed_copies(latent: &Latent, ranks: u64) -> [u64; 2] {
    let heads = u64::from(latent.head_count).div_ceil(ranks);
    let side = |length: u32| heads * u64::from(latent.kv_lora_rank) * u64::from(length) * 2;
    [side(latent.key_length.saturating_sub(latent.rope_length)), side(latent.value_length)]
}

/// Experts in MXFP4 on one rank, widths padded as the kernels want them.
///
/// Source: vLLM 0.19, `layers/quantization/mxfp4.py` (`create_weights`, `process_weights_after_loading`);
/// Triton's Hopper layouts swizzle the scales into a padded copy beside the loaded ones. The Triton figures
/// agree with logs of gpt-oss-20b at 1 and 2 ranks; Marlin's were only read.
fn mxfp4_experts(gate_up: Gathered, down: Gathered, kernel: Mxfp4Kernel) -> [u64; 8] {
    let (experts, width, hidden) = (gate_up.copies, down.inputs, down.outputs);
    match kernel {
        Mxfp4Kernel::Marlin => {
            let (width, hidden) = (width.next_multiple_of(128), hidden.next_multiple_of(256));
            let weights = experts.saturating_mul(width).saturating_mul(hidden);
            [weights, weights / 16, weights / 2, weights / 32, experts * 2 * width * 2, experts * hidden * 2, 0, 0]
        }
        Mxfp4Kernel::Triton => {
            let width = width.next_multiple_of(64);
            let matrix = |outputs: u64, inputs: u64| {
                [
                    experts.saturating_mul(outputs).saturating_mul(inputs) / 32,
                    experts.saturating_mul(outputs).saturating_mul(inputs.next_multiple_of(128)) / 2,
                    experts.saturating_mul(outputs.next_multiple_of(256)).saturating_mul((inputs / 32).next_multiple_of(2)),
                    experts.saturating_mul(outputs).saturating_mul(4),
                ]
            };
            let ([a, b, c, d], [e, f, g, h]) = (matrix(2 * width, hidden), matrix(hidden, width));
            [a, b, c, d, e, f, g, h]
        }
    }
}

/// Tables of cosines and sines: positions × rotated dimensions, one per kind of rotary embedding, whole on
/// every rank.
///
/// Source: vLLM, `layers/rotary_embedding/base.py` (`_compute_cos_sin_cache`, length `max_position_embeddings`),
/// `linear_scaling_rope.py`, `phi3_long_rope_scaled_rope.py`, `deepseek_scaling_rope.py` (F32).
fn rope_tables(model: &Model, layers: &Range<u32>) -> [u64; 2] {
    let hp = model.hyperparameters();
    let arch = model.architecture();
    if matches!(arch, "jamba" | "nemotron_h" | "nemotron_h_moe" | "mamba" | "mamba2") {
        return [0, 0];
    }
    let stage = model.blocks().get(layers.start as usize..layers.end as usize).unwrap_or_default();
    let mut full = 0;
    let mut windowed = 0;
    for block in stage {
        match block.attention {
            Attention::None => {}
            Attention::Latent(latent) => full = u64::from(latent.rope_length),
            Attention::Heads(heads) if heads.span.window().is_some() => windowed = u64::from(heads.key_length),
            Attention::Heads(heads) => full = u64::from(heads.key_length),
        }
    }
    let rotated = hp.rope_dimension_count.map_or(u64::MAX, u64::from);
    let (full, windowed) = (full.min(rotated), windowed.min(rotated));
    let positions = hp.context_length;
    let table = |positions: u64, dimensions: u64, bytes: u64| positions.saturating_mul(dimensions).saturating_mul(bytes);
    match arch {
        "gemma3" => {
            let factor = if positions == GEMMA3_SCALED_CONTEXT { GEMMA3_ROPE_FACTOR } else { 1 };
            [table(positions.saturating_mul(factor), full, 2), table(positions, windowed, 2)]
        }
        // Two bases.
        "gemma3n" | "gemma4" | "olmo2" | "olmo3" => [table(positions, full, 2), table(positions, windowed, 2)],
        "deepseek2" => [table(positions, full, 4), 0],
        // Positions in three axes, of images and videos (`mrope.py`).
        "qwen2vl" | "qwen3vl" | "qwen3vlmoe" | "qwen35" | "qwen35moe" => [table(positions.saturating_mul(4), full, 2), 0],
        // A short and a long table in one.
        "phi3" | "phimoe" if hp.facts.rope_factors => [table(positions.saturating_add(4096), full.max(windowed), 2), 0],
        _ => [table(positions, full.max(windowed), 2), 0],
    }
}
