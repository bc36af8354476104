//! Gemma 1 to 4.

use super::list::{List, stem};
use crate::model::{Attention, CacheSource, FeedForward, Span};

/// Rank of Gemma 3n's learned residual (llama.cpp, `src/models/gemma3n.cpp`: `laurel_rank`).
const LAUREL_RANK: u64 = 64;

/// Gemma.
pub(super) fn gemma(list: &mut List<'_>) {
    list.frame();
    list.main_blocks(|list| {
        list.norms();
        list.heads_attention();
        list.feed_forward();
    });
}

/// Gemma 2: norms around both halves of a block.
pub(super) fn gemma2(list: &mut List<'_>) {
    list.frame();
    list.main_blocks(|list| {
        list.sandwich_norms();
        list.heads_attention();
        list.feed_forward();
    });
}

/// Gemma 3: also norms of each head.
pub(super) fn gemma3(list: &mut List<'_>) {
    list.frame();
    list.main_blocks(|list| {
        list.sandwich_norms();
        list.heads_attention();
        list.head_norms();
        list.feed_forward();
    });
}

/// Gemma 3n: per-layer embeddings, parallel residual streams, a learned residual of low rank.
pub(super) fn gemma3n(list: &mut List<'_>) {
    list.frame();
    let d = list.d();
    let streams = u64::from(list.hp.altup_num_inputs);
    if streams < 2 {
        return list.require("altup_num_inputs");
    }
    list.add(stem!("altup_proj.weight"), [d, d, streams - 1]);
    list.add(stem!("altup_unembd_proj.weight"), [d, d, streams - 1]);
    list.per_layer_embedding();
    list.main_blocks(|list| {
        list.sandwich_norms();
        list.heads_attention();
        list.head_norms();
        list.feed_forward();
        list.per_layer_input();
        list.add(stem!("altup_correct_coef.weight"), [streams, streams]);
        list.add(stem!("altup_predict_coef.weight"), [streams, streams * streams]);
        list.add(stem!("altup_router.weight"), [d, streams]);
        list.vectors([stem!("altup_correct_scale.weight"), stem!("altup_router_norm.weight"), stem!("laurel_post_norm.weight")]);
        list.add(stem!("laurel_l.weight"), [d, LAUREL_RANK]);
        list.add(stem!("laurel_r.weight"), [LAUREL_RANK, d]);
    });
}

/// Gemma 4: heads of two sizes, keys that serve as values, blocks that reuse a cache, per-layer embeddings
/// in the E models, experts beside the dense network in the MoE ones.
pub(super) fn gemma4(list: &mut List<'_>) {
    list.frame();
    let has_per_layer = list.hp.embedding_length_per_layer_input > 0;
    if has_per_layer {
        list.per_layer_embedding();
    }
    let full_head = list.blocks().iter().find_map(|block| match block.attention {
        Attention::Heads(heads) if heads.span == Span::Full => Some(u64::from(heads.key_length)),
        _ => None,
    });
    if let Some(length) = full_head {
        list.add(stem!("rope_freqs.weight"), [length / 2]);
    }
    list.main_blocks(|list| {
        list.sandwich_norms();
        gemma4_attention(list);
        if list.facts().layer_scale {
            list.add(stem!("layer_output_scale.weight"), [1]);
        }
        // The dense network stands beside the experts in every block.
        list.gated(list.hp.feed_forward_length.at(list.number()).into());
        if matches!(list.block().feed_forward, FeedForward::Experts { .. }) {
            list.experts();
            list.vectors([
                stem!("ffn_gate_inp.scale"),
                stem!("pre_ffw_norm_2.weight"),
                stem!("post_ffw_norm_1.weight"),
                stem!("post_ffw_norm_2.weight"),
            ]);
            list.add(stem!("ffn_down_exps.scale"), [list.hp.expert_count.into()]);
        }
        if has_per_layer {
            list.per_layer_input();
        }
    });
}

fn gemma4_attention(list: &mut List<'_>) {
    let Some(heads) = list.heads() else { return };
    let d = list.d();
    let length = u64::from(heads.key_length);
    let inner = u64::from(heads.head_count) * length;
    list.add(stem!("attn_q.weight"), [d, inner]);
    list.add(stem!("attn_q_norm.weight"), [length]);
    list.add(stem!("attn_output.weight"), [inner, d]);
    if heads.cache == CacheSource::Own || list.facts().kv_on_shared {
        list.add(stem!("attn_k.weight"), [d, u64::from(heads.head_count_kv) * length]);
        list.add(stem!("attn_k_norm.weight"), [length]);
        if heads.span != Span::Full || list.facts().v_on_full {
            list.add(stem!("attn_v.weight"), [d, u64::from(heads.head_count_kv) * u64::from(heads.value_length)]);
        }
    }
}

impl List<'_> {
    /// The table of per-layer embeddings with its projection and norm.
    fn per_layer_embedding(&mut self) {
        let length = u64::from(self.hp.embedding_length_per_layer_input);
        let all_blocks = length * u64::from(self.hp.main_block_count());
        self.add(stem!("per_layer_token_embd.weight"), [all_blocks, self.vocab()]);
        self.add(stem!("per_layer_model_proj.weight"), [self.d(), all_blocks]);
        self.add(stem!("per_layer_proj_norm.weight"), [length]);
    }

    /// Where a block takes its per-layer embedding in.
    fn per_layer_input(&mut self) {
        let length = u64::from(self.hp.embedding_length_per_layer_input);
        self.add(stem!("inp_gate.weight"), [self.d(), length]);
        self.add(stem!("proj.weight"), [length, self.d()]);
        self.add(stem!("post_norm.weight"), [self.d()]);
    }
}
