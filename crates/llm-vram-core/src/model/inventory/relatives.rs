//! Further transformers of the Llama and Qwen lines, dense and with experts.

use super::{
    list::{List, stem},
    parts::Projections,
};
use crate::model::FeedForward;

/// Norms of each head between two block norms, a gated network or experts, prediction layers: dots.llm1,
/// K-EXAONE, Hunyuan, Qwen 3 VL.
pub(super) fn head_normed(list: &mut List<'_>) {
    list.frame();
    list.rope_freqs();
    list.all_blocks(|list| {
        list.norms();
        list.heads_attention();
        list.head_norms();
        list.feed_forward();
        list.prediction();
    });
}

/// Ling 2.0: as [`head_normed`], with query, key and value in one matrix.
pub(super) fn bailingmoe2(list: &mut List<'_>) {
    list.frame();
    list.all_blocks(|list| {
        list.norms();
        list.attention(Projections::Fused);
        list.head_norms();
        list.feed_forward();
        list.prediction();
        if list.block().is_mtp {
            list.vectors([stem!("layer_output_norm.weight")]);
        }
    });
}

/// Qwen 1.5 and 2 MoE: a shared expert behind a gate.
pub(super) fn qwen2moe(list: &mut List<'_>) {
    list.frame();
    list.main_blocks(|list| {
        list.norms();
        list.heads_attention();
        if matches!(list.block().feed_forward, FeedForward::Experts { .. }) {
            list.vectors([stem!("ffn_gate_inp_shexp.weight")]);
        }
        list.feed_forward();
    });
}

/// OLMoE: norms over all heads together.
pub(super) fn olmoe(list: &mut List<'_>) {
    list.frame();
    list.main_blocks(|list| {
        list.norms();
        list.heads_attention();
        list.wide_head_norms();
        list.feed_forward();
    });
}

/// Command R7B: attention and network side by side behind one norm.
pub(super) fn cohere2(list: &mut List<'_>) {
    list.frame();
    list.main_blocks(|list| {
        list.vectors([stem!("attn_norm.weight")]);
        list.heads_attention();
        list.feed_forward();
    });
}

/// EXAONE 4: norms behind both halves of a block, and of each head.
pub(super) fn exaone4(list: &mut List<'_>) {
    list.frame();
    list.rope_freqs();
    list.all_blocks(|list| {
        list.vectors([stem!("post_attention_norm.weight"), stem!("post_ffw_norm.weight")]);
        list.heads_attention();
        list.head_norms();
        list.feed_forward();
        list.prediction();
    });
}

/// Seed-OSS: the second norm stands where others have `ffn_norm`.
pub(super) fn seed_oss(list: &mut List<'_>) {
    list.frame();
    list.main_blocks(|list| {
        list.vectors([stem!("attn_norm.weight"), stem!("post_attention_norm.weight")]);
        list.heads_attention();
        list.feed_forward();
    });
}

/// Apertus: norms of each head, a network of two matrices.
pub(super) fn apertus(list: &mut List<'_>) {
    list.frame();
    list.rope_freqs();
    list.main_blocks(|list| {
        list.norms();
        list.heads_attention();
        list.head_norms();
        list.ungated(list.dense_length());
    });
}

/// Arcee: a network of two matrices.
pub(super) fn arcee(list: &mut List<'_>) {
    list.frame();
    list.rope_freqs();
    list.main_blocks(|list| {
        list.norms();
        list.heads_attention();
        list.ungated(list.dense_length());
    });
}

/// Nemotron 3 and 4: layer norms with biases, a network of two matrices.
pub(super) fn nemotron(list: &mut List<'_>) {
    list.frame_with_norm_bias();
    list.main_blocks(|list| {
        list.norms();
        list.vectors([stem!("attn_norm.bias"), stem!("ffn_norm.bias")]);
        list.heads_attention();
        list.ungated(list.dense_length());
    });
}

/// StableLM: layer norms with biases; the 12B normalises each query and key head.
pub(super) fn stablelm(list: &mut List<'_>) {
    list.frame_with_norm_bias();
    list.main_blocks(|list| {
        list.norms();
        list.vectors([stem!("attn_norm.bias"), stem!("ffn_norm.bias")]);
        list.heads_attention();
        if let (true, Some(heads)) = (list.facts().qk_norm, list.heads()) {
            list.add(stem!("attn_q_norm.weight"), [heads.key_length.into(), heads.head_count.into()]);
            list.add(stem!("attn_k_norm.weight"), [heads.key_length.into(), heads.head_count_kv.into()]);
        }
        list.feed_forward();
    });
}

/// Phi-1 and 2: attention and network side by side behind one layer norm.
pub(super) fn phi2(list: &mut List<'_>) {
    list.frame_with_norm_bias();
    list.main_blocks(|list| {
        list.vectors([stem!("attn_norm.weight"), stem!("attn_norm.bias")]);
        list.heads_attention();
        list.ungated(list.dense_length());
    });
}

/// BitNet: a norm before each output matrix.
pub(super) fn bitnet(list: &mut List<'_>) {
    list.frame();
    list.main_blocks(|list| {
        list.norms();
        list.vectors([stem!("attn_sub_norm.weight")]);
        list.heads_attention();
        list.feed_forward();
        list.add(stem!("ffn_sub_norm.weight"), [list.dense_length()]);
    });
}

/// AFMoE (Trinity): norms around both halves, a gate on the attention output.
pub(super) fn afmoe(list: &mut List<'_>) {
    list.frame();
    list.main_blocks(|list| {
        list.sandwich_norms();
        list.heads_attention();
        list.head_norms();
        if let Some(heads) = list.heads() {
            list.add(stem!("attn_gate.weight"), [list.d(), u64::from(heads.head_count) * u64::from(heads.key_length)]);
        }
        list.feed_forward();
    });
}
