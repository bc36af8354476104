//! The GPT line: layer norms with biases, biases everywhere, networks of two matrices.

use super::{
    list::{List, stem},
    parts::Projections,
};

/// GPT-NeoX and Pythia.
pub(super) fn gptneox(list: &mut List<'_>) {
    list.frame_with_norm_bias();
    blocks(list);
}

/// GPT-2: with a table of positions.
pub(super) fn gpt2(list: &mut List<'_>) {
    list.frame_with_norm_bias();
    list.add(stem!("position_embd.weight"), [list.d(), list.hp.context_length]);
    blocks(list);
}

fn blocks(list: &mut List<'_>) {
    list.main_blocks(|list| {
        list.norms();
        list.vectors([stem!("attn_norm.bias"), stem!("ffn_norm.bias")]);
        list.attention(Projections::Fused);
        list.ungated(list.dense_length());
    });
}
