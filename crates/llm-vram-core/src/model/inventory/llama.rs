//! Plain transformers: the Llama line and its relatives, dense and with experts.

use super::{
    list::{List, stem},
    parts::Projections,
};
use crate::model::Attention;

/// What is assumed of an architecture without a list of its own.
pub(super) fn assumed(list: &mut List<'_>) {
    list.frame();
    list.rope_freqs();
    list.all_blocks(|list| {
        list.norms();
        if matches!(list.block().attention, Attention::Latent(_)) {
            list.latent_attention();
            list.indexer();
        } else {
            list.heads_attention();
        }
        if list.facts().qk_norm {
            list.head_norms();
        }
        list.feed_forward();
        list.prediction();
    });
}

/// Llama, Mistral, Mixtral, Granite.
pub(super) fn llama(list: &mut List<'_>) {
    list.frame();
    list.rope_freqs();
    plain_blocks(list);
}

/// Two norms, separate projections, a gated network or experts.
pub(super) fn plain(list: &mut List<'_>) {
    list.frame();
    plain_blocks(list);
}

fn plain_blocks(list: &mut List<'_>) {
    list.main_blocks(|list| {
        list.norms();
        list.heads_attention();
        list.feed_forward();
    });
}

/// Llama 4; experts in every `interleave_moe_layer_step`-th block.
pub(super) fn llama4(list: &mut List<'_>) {
    llama(list);
}

/// Phi-3 and Phi-4: gate and up matrix in one.
pub(super) fn phi3(list: &mut List<'_>) {
    list.frame();
    list.rope_factors(list.rotated());
    list.main_blocks(|list| {
        list.norms();
        list.heads_attention();
        list.joined_gate(list.dense_length());
    });
}

/// Phi-3.5-MoE: layer norms with biases.
pub(super) fn phimoe(list: &mut List<'_>) {
    list.frame_with_norm_bias();
    let head = list.hp.embedding_length / list.hp.head_count.at(0).max(1);
    list.rope_factors(head.into());
    list.main_blocks(|list| {
        list.norms();
        list.vectors([stem!("attn_norm.bias"), stem!("ffn_norm.bias")]);
        list.heads_attention();
        list.experts();
    });
}

/// Command R and R+: attention and network side by side behind one norm; the models of 64 and more blocks normalise each
/// query and key head.
pub(super) fn command_r(list: &mut List<'_>) {
    list.frame();
    let has_head_norms = list.hp.main_block_count() >= 64;
    list.main_blocks(|list| {
        list.vectors([stem!("attn_norm.weight")]);
        list.heads_attention();
        list.feed_forward();
        if let (true, Some(heads)) = (has_head_norms, list.heads()) {
            list.add(stem!("attn_q_norm.weight"), [heads.key_length.into(), heads.head_count.into()]);
            list.add(stem!("attn_k_norm.weight"), [heads.key_length.into(), heads.head_count_kv.into()]);
        }
    });
}

/// StarCoder 2: layer norms with biases, a network of two matrices.
pub(super) fn starcoder2(list: &mut List<'_>) {
    list.frame_with_norm_bias();
    list.main_blocks(|list| {
        list.norms();
        list.vectors([stem!("attn_norm.bias"), stem!("ffn_norm.bias")]);
        list.heads_attention();
        list.ungated(list.dense_length());
    });
}

/// OLMo 2 and 3: norms behind both halves of a block, and over all heads together.
pub(super) fn olmo2(list: &mut List<'_>) {
    list.frame();
    list.main_blocks(|list| {
        list.vectors([stem!("post_attention_norm.weight"), stem!("post_ffw_norm.weight")]);
        list.heads_attention();
        list.feed_forward();
        list.wide_head_norms();
    });
}

/// Falcon 7B and 40B; the latter has a second norm before attention.
pub(super) fn falcon(list: &mut List<'_>) {
    list.frame_with_norm_bias();
    list.main_blocks(|list| {
        list.vectors([stem!("attn_norm.weight"), stem!("attn_norm.bias")]);
        if list.facts().attn_norm_2 {
            list.vectors([stem!("attn_norm_2.weight"), stem!("attn_norm_2.bias")]);
        }
        list.attention(Projections::Fused);
        list.ungated(list.dense_length());
    });
}

/// MiniMax-M2: experts everywhere, norms over all heads together.
pub(super) fn minimax_m2(list: &mut List<'_>) {
    list.frame();
    list.main_blocks(|list| {
        list.norms();
        list.heads_attention();
        list.experts();
        list.wide_head_norms();
    });
}

/// GLM-4 (0414): norms around both halves, gate and up matrix in one.
pub(super) fn glm4(list: &mut List<'_>) {
    list.frame();
    list.main_blocks(|list| {
        list.sandwich_norms();
        list.heads_attention();
        list.joined_gate(list.dense_length());
    });
}

/// GLM-4.5 to 4.7.
pub(super) fn glm4moe(list: &mut List<'_>) {
    list.frame();
    list.all_blocks(|list| {
        list.vectors([stem!("attn_norm.weight"), stem!("post_attention_norm.weight")]);
        list.heads_attention();
        if list.facts().qk_norm {
            list.head_norms();
        }
        list.feed_forward();
        list.prediction();
    });
}

/// gpt-oss: attention sinks, biases in router and experts.
pub(super) fn gpt_oss(list: &mut List<'_>) {
    list.frame();
    list.main_blocks(|list| {
        list.vectors([stem!("attn_norm.weight"), stem!("post_attention_norm.weight")]);
        list.heads_attention();
        if let Some(heads) = list.heads() {
            list.add(stem!("attn_sinks.weight"), [heads.head_count.into()]);
        }
        list.experts();
        list.expert_biases();
    });
}

/// OLMo: norms without weights.
pub(super) fn olmo(list: &mut List<'_>) {
    list.token_embedding_and_output();
    list.main_blocks(|list| {
        list.heads_attention();
        list.feed_forward();
    });
}
