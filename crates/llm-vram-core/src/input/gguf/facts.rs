//! What the presence of a tensor proves.

use alloc::{vec, vec::Vec};

use super::header::Header;
use crate::model::{Facts, Hyperparameters, MtpExtra, WindowPattern};

/// Gemma 3n keeps own keys and values in its first blocks only (llama.cpp, `gemma3n.cpp`).
const GEMMA3N_OWN_KV: u32 = 20;

/// `blk.3.attn_q.weight` as 3 and `attn_q.weight`; `None` for names outside the blocks.
pub(super) fn block_and_stem(name: &str) -> Option<(u32, &str)> {
    let (block, stem) = name.strip_prefix("blk.")?.split_once('.')?;
    Some((block.parse().ok()?, stem))
}

/// Reads every fact off the tensor list; without tensors the architecture's typical facts stay.
pub(super) fn of(header: &Header<'_>, hp: &Hyperparameters) -> Facts {
    if header.tensors().is_empty() {
        return hp.facts.clone();
    }
    let mut facts = Facts { tied: true, ..Facts::default() };
    let mut blocks = vec![Present::default(); hp.block_count as usize];
    for tensor in header.tensors() {
        match block_and_stem(tensor.name) {
            None => outside_blocks(&mut facts, tensor.name, tensor.shape[1]),
            Some((block, stem)) => {
                inside_block(&mut facts, stem);
                if let Some(present) = blocks.get_mut(block as usize) {
                    present.note(stem);
                }
            }
        }
    }
    facts.fused_qkv = blocks.iter().any(|block| block.fused_qkv && !block.recurrent);
    facts.fused_ssm_in = hp.architecture == "qwen3next" && blocks.iter().any(|block| block.ssm_in);
    facts.kv_on_shared = blocks.iter().skip(own_kv_blocks(hp)).any(|block| block.k);
    facts.v_on_full = v_on_full(hp, &blocks);
    facts.moe_layers = moe_layers(hp, &blocks);
    facts
}

fn outside_blocks(facts: &mut Facts, name: &str, rows: u64) {
    match name {
        "output.weight" => facts.tied = false,
        "output.bias" => facts.output_bias = true,
        "rope_freqs.weight" => facts.rope_freqs = true,
        "rope_factors_long.weight" | "rope_factors_short.weight" => facts.rope_factors = true,
        "cls.output.weight" => facts.cls_out = u32::try_from(rows).unwrap_or(u32::MAX),
        _ => {}
    }
}

fn inside_block(facts: &mut Facts, stem: &str) {
    match stem {
        "attn_q.bias" | "attn_qkv.bias" => facts.qkv_bias = true,
        "attn_output.bias" => facts.o_bias = true,
        "ffn_up.bias" | "ffn_down.bias" => facts.ffn_bias = true,
        "attn_q_norm.weight" => facts.qk_norm = true,
        "attn_norm_2.weight" => facts.attn_norm_2 = true,
        "ffn_gate_up_exps.weight" => facts.fused_gate_up_exps = true,
        "exp_probs_b.bias" | "exp_probs_b" => facts.exp_probs_b = true,
        "ssm_conv1d.bias" => facts.conv_bias = true,
        "layer_output_scale.weight" => facts.layer_scale = true,
        "rope_freqs.weight" => facts.rope_freqs = true,
        "rope_factors_long.weight" | "rope_factors_short.weight" => facts.rope_factors = true,
        "nextn.embed_tokens.weight" | "nextn.shared_head_head.weight" => facts.mtp_extra = MtpExtra::OwnTables,
        "nextn.shared_head_norm.weight" if facts.mtp_extra == MtpExtra::None => facts.mtp_extra = MtpExtra::HeadNorm,
        _ => {}
    }
}

/// The tensors of one block that facts depend on.
#[derive(Debug, Clone, Copy, Default)]
struct Present {
    k: bool,
    v: bool,
    fused_qkv: bool,
    router: bool,
    ssm_in: bool,
    recurrent: bool,
}

impl Present {
    fn note(&mut self, stem: &str) {
        match stem {
            "attn_k.weight" => self.k = true,
            "attn_v.weight" => self.v = true,
            "attn_qkv.weight" => self.fused_qkv = true,
            "ffn_gate_inp.weight" => self.router = true,
            "ssm_in.weight" => (self.ssm_in, self.recurrent) = (true, true),
            _ if stem.starts_with("ssm_") => self.recurrent = true,
            _ => {}
        }
    }
}

fn own_kv_blocks(hp: &Hyperparameters) -> usize {
    let own = match hp.architecture.as_str() {
        "gemma3n" => GEMMA3N_OWN_KV,
        _ if hp.shared_kv_layers == 0 => hp.block_count,
        _ => hp.main_block_count().saturating_sub(hp.shared_kv_layers),
    };
    own as usize
}

/// Only Gemma 4 may leave the values of its full-attention blocks out.
fn v_on_full(hp: &Hyperparameters, blocks: &[Present]) -> bool {
    match &hp.sliding_window_pattern {
        Some(WindowPattern::Each(windowed)) if hp.architecture == "gemma4" => {
            blocks.iter().zip(windowed).filter(|(block, windowed)| block.k && !**windowed).all(|(block, _)| block.v)
        }
        _ => true,
    }
}

/// The period of the blocks with experts, where no metadata key gives it (Jamba).
fn moe_layers(hp: &Hyperparameters, blocks: &[Present]) -> Option<(u32, u32)> {
    let stated = hp.leading_dense_block_count > 0 || hp.interleave_moe_layer_step > 0;
    let main = blocks.get(..hp.main_block_count() as usize)?;
    let mut with_experts = (0_u32..).zip(main).filter(|(_, block)| block.router).map(|(number, _)| number);
    let offset = with_experts.next()?;
    let all = main.iter().all(|block| block.router);
    if stated || all || hp.expert_count == 0 || hp.architecture.starts_with("nemotron_h") {
        return None;
    }
    let period = with_experts.next()? - offset;
    let routers: Vec<bool> = main.iter().map(|block| block.router).collect();
    let fits = (0_u32..).zip(routers).all(|(number, router)| router == (number % period == offset));
    fits.then_some((period, offset))
}
