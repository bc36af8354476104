//! Hybrids with linear attention or with experts over latent states, and pure Mamba 2.

use super::list::{List, stem};
use crate::model::{Attention, FeedForward};

/// Mamba 2.
pub(super) fn mamba2(list: &mut List<'_>) {
    list.frame();
    list.main_blocks(|list| {
        list.vectors([stem!("attn_norm.weight")]);
        list.mamba2();
    });
}

/// Falcon-H1: Mamba 2 and attention side by side, then a gated network.
pub(super) fn falcon_h1(list: &mut List<'_>) {
    list.frame();
    list.rope_freqs();
    list.main_blocks(|list| {
        list.norms();
        if list.facts().ssm_norm {
            list.mamba2();
        } else {
            list.mamba2_without_norm();
        }
        list.heads_attention();
        list.feed_forward();
    });
}

/// Nemotron 3: each block is Mamba 2, attention or experts of two matrices, which may work on a projection
/// of the hidden state.
pub(super) fn nemotron_h_moe(list: &mut List<'_>) {
    list.frame();
    list.main_blocks(|list| {
        list.vectors([stem!("attn_norm.weight")]);
        if list.is_recurrent() {
            return list.mamba2();
        }
        match list.block().feed_forward {
            FeedForward::Experts { count, length, shared_length, .. } if list.heads().is_none() => {
                ungated_experts(list, count.into(), length.into(), shared_length.into());
            }
            FeedForward::Dense { length } => list.ungated(length.into()),
            _ => list.heads_attention(),
        }
    });
}

fn ungated_experts(list: &mut List<'_>, count: u64, length: u64, shared_length: u64) {
    let d = list.d();
    let latent = u64::from(list.hp.moe_latent_size);
    let input = if latent > 0 { latent } else { d };
    list.add(stem!("ffn_gate_inp.weight"), [d, count]);
    if list.facts().exp_probs_b {
        list.add(stem!("exp_probs_b.bias"), [count]);
    }
    if latent > 0 {
        list.add(stem!("ffn_latent_down.weight"), [d, latent]);
        list.add(stem!("ffn_latent_up.weight"), [latent, d]);
    }
    list.add(stem!("ffn_up_exps.weight"), [input, length, count]);
    list.add(stem!("ffn_down_exps.weight"), [length, input, count]);
    if shared_length > 0 {
        list.add(stem!("ffn_up_shexp.weight"), [d, shared_length]);
        list.add(stem!("ffn_down_shexp.weight"), [shared_length, d]);
    }
}

/// MiniMax-01: lightning attention with an output gate, softmax attention in some blocks, experts in all.
pub(super) fn minimax_01(list: &mut List<'_>) {
    list.frame();
    list.main_blocks(|list| {
        list.norms();
        if list.is_recurrent() {
            let d = list.d();
            let block = list.number();
            let inner = u64::from(list.hp.head_count.at(block)) * u64::from(list.hp.key_length_at(block, false));
            list.add(stem!("attn_norm_2.weight"), [inner]);
            list.add(stem!("attn_qkv.weight"), [d, 3 * inner]);
            list.add(stem!("attn_gate.weight"), [d, inner]);
            list.add(stem!("attn_output.weight"), [inner, d]);
        } else {
            list.heads_attention();
        }
        list.feed_forward();
    });
}

/// Kimi Linear: Kimi delta attention or latent attention, then a gated network or experts.
pub(super) fn kimi_linear(list: &mut List<'_>) {
    list.frame();
    list.main_blocks(|list| {
        list.norms();
        if list.is_recurrent() {
            kimi_delta_attention(list);
        } else if matches!(list.block().attention, Attention::Latent(_)) {
            list.latent_attention();
        } else {
            list.heads_attention();
        }
        list.feed_forward();
    });
}

fn kimi_delta_attention(list: &mut List<'_>) {
    let d = list.d();
    let heads = u64::from(list.hp.head_count.at(list.number()));
    let head = u64::from(list.hp.kda_head_dim);
    let inner = heads * head;
    let kernel = u64::from(list.hp.ssm_conv_kernel);
    for stem in [stem!("attn_q.weight"), stem!("attn_k.weight"), stem!("attn_v.weight")] {
        list.add(stem, [d, inner]);
    }
    for stem in [stem!("ssm_conv1d_q.weight"), stem!("ssm_conv1d_k.weight"), stem!("ssm_conv1d_v.weight")] {
        list.add(stem, [kernel, 1, inner]);
    }
    for (down, up) in [(stem!("ssm_f_a.weight"), stem!("ssm_f_b.weight")), (stem!("ssm_g_a.weight"), stem!("ssm_g_b.weight"))] {
        list.add(down, [d, head]);
        list.add(up, [head, inner]);
    }
    list.add(stem!("ssm_beta.weight"), [d, heads]);
    list.add(stem!("ssm_a"), [1, heads]);
    list.add(stem!("ssm_dt.bias"), [inner]);
    list.add(stem!("ssm_norm.weight"), [head]);
    list.add(stem!("attn_output.weight"), [inner, d]);
}

/// OLMo Hybrid: gated delta nets with separate projections behind norms, attention as in OLMo 2.
///
/// No GGUF converter knows it yet; names follow Qwen3-Next, shapes `modeling_olmo_hybrid.py` of
/// transformers 5.23.
pub(super) fn olmo_hybrid(list: &mut List<'_>) {
    list.frame();
    list.main_blocks(|list| {
        if list.is_recurrent() {
            list.vectors([stem!("attn_norm.weight"), stem!("ffn_norm.weight")]);
            separate_delta_net(list);
        } else {
            list.vectors([stem!("post_attention_norm.weight"), stem!("post_ffw_norm.weight")]);
            list.heads_attention();
            list.wide_head_norms();
        }
        list.feed_forward();
    });
}

fn separate_delta_net(list: &mut List<'_>) {
    let hp = list.hp;
    let d = list.d();
    let value_heads = u64::from(hp.ssm_time_step_rank);
    let keys = u64::from(hp.ssm_state_size) * u64::from(hp.ssm_group_count);
    let values = u64::from(hp.ssm_inner_size);
    if value_heads == 0 {
        return list.require("ssm_time_step_rank");
    }
    list.add(stem!("attn_q.weight"), [d, keys]);
    list.add(stem!("attn_k.weight"), [d, keys]);
    list.add(stem!("attn_v.weight"), [d, values]);
    list.add(stem!("attn_gate.weight"), [d, values]);
    list.add(stem!("ssm_alpha.weight"), [d, value_heads]);
    list.add(stem!("ssm_beta.weight"), [d, value_heads]);
    list.add(stem!("ssm_conv1d.weight"), [hp.ssm_conv_kernel.into(), 2 * keys + values]);
    list.add(stem!("ssm_a"), [value_heads]);
    list.add(stem!("ssm_dt.bias"), [value_heads]);
    list.add(stem!("ssm_norm.weight"), [values / value_heads]);
    list.add(stem!("ssm_out.weight"), [values, d]);
}
