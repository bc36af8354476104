//! Mixtures of experts with window and full attention in turn, gates on the attention output, or both.

use super::list::{List, stem};
use crate::model::{Attention, Heads, Span};

/// MiMo V2: attention sinks in the windowed blocks, other head sizes for keys than for values.
pub(super) fn mimo2(list: &mut List<'_>) {
    list.frame();
    list.all_blocks(|list| {
        list.norms();
        list.heads_attention();
        if let Some(Heads { head_count, span: Span::Sliding(_), .. }) = list.heads() {
            list.add(stem!("attn_sinks.weight"), [head_count.into()]);
        }
        list.feed_forward();
        list.prediction();
    });
}

/// Step 3.5: norms of each head, one gate for each head.
pub(super) fn step35(list: &mut List<'_>) {
    list.frame();
    list.rope_freqs();
    list.all_blocks(|list| {
        head_gated_block(list);
        list.prediction();
    });
}

/// Laguna: as Step 3.5, without prediction blocks.
pub(super) fn laguna(list: &mut List<'_>) {
    list.frame();
    list.main_blocks(head_gated_block);
}

fn head_gated_block(list: &mut List<'_>) {
    list.norms();
    list.heads_attention();
    list.head_norms();
    if let Some(heads) = list.heads() {
        list.add(stem!("attn_gate.weight"), [list.d(), heads.head_count.into()]);
    }
    list.feed_forward();
}

/// Command A+: attention and experts side by side behind one norm.
pub(super) fn cohere2moe(list: &mut List<'_>) {
    list.frame();
    list.all_blocks(|list| {
        list.vectors([stem!("attn_norm.weight")]);
        list.heads_attention();
        list.feed_forward();
        list.prediction();
    });
}

/// MiniMax-M3: norms of each head; blocks with experts also select tokens by an indexer.
pub(super) fn minimax_m3(list: &mut List<'_>) {
    list.frame();
    list.main_blocks(|list| {
        list.norms();
        list.heads_attention();
        list.head_norms();
        list.feed_forward();
        let has_experts = list.dense_length() == 0 && list.hp.expert_count > 0;
        if has_experts && matches!(list.block().attention, Attention::Heads(_)) {
            let d = list.d();
            let key = u64::from(list.hp.indexer_key_length.unwrap_or(0));
            let heads = u64::from(list.hp.indexer_head_count.unwrap_or(0));
            list.add(stem!("indexer.q_proj.weight"), [d, heads * key]);
            list.add(stem!("indexer.k_proj.weight"), [d, key]);
            list.add(stem!("indexer.q_norm.weight"), [key]);
            list.add(stem!("indexer.k_norm.weight"), [key]);
        }
    });
}

/// Deci's searched Llamas (Nemotron Super and Ultra): blocks of different widths, some without attention or with
/// a matrix in its place, some without network.
pub(super) fn deci(list: &mut List<'_>) {
    list.frame();
    list.rope_freqs();
    list.main_blocks(|list| {
        let head_count = list.hp.head_count.at(list.number());
        if list.heads().is_some() {
            list.vectors([stem!("attn_norm.weight")]);
            list.heads_attention();
        } else if head_count > 0 {
            list.vectors([stem!("attn_norm.weight")]);
            list.add(stem!("attn_output.weight"), [list.d(), list.d()]);
        }
        if list.dense_length() > 0 {
            list.vectors([stem!("ffn_norm.weight")]);
            list.feed_forward();
        }
    });
}
