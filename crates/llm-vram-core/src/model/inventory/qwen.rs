//! Qwen 3 and later.

use super::{
    list::{List, stem},
    parts::Projections,
};
use crate::model::FeedForward;

/// Qwen 3, dense and with experts: norms of each head.
pub(super) fn qwen3(list: &mut List<'_>) {
    list.frame();
    list.main_blocks(|list| {
        list.norms();
        list.heads_attention();
        list.head_norms();
        list.feed_forward();
    });
}

/// Qwen3-Next: three gated-delta-net blocks to one of gated attention.
pub(super) fn qwen3next(list: &mut List<'_>) {
    delta_hybrid(list, DeltaGates::Joint);
}

/// Qwen 3.5, dense and with experts: as Qwen3-Next with separate gate projections.
pub(super) fn qwen35(list: &mut List<'_>) {
    delta_hybrid(list, DeltaGates::Separate);
}

/// How the two gate projections of a gated delta net are stored.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum DeltaGates {
    /// In one matrix.
    Joint,
    /// Each on its own.
    Separate,
}

fn delta_hybrid(list: &mut List<'_>, gates: DeltaGates) {
    list.frame();
    list.all_blocks(|list| {
        list.vectors([stem!("attn_norm.weight"), stem!("post_attention_norm.weight")]);
        if list.is_recurrent() {
            list.gated_delta_net(gates);
        } else {
            list.attention(Projections::Gated);
            list.head_norms();
        }
        if matches!(list.block().feed_forward, FeedForward::Experts { .. }) {
            list.vectors([stem!("ffn_gate_inp_shexp.weight")]);
        }
        list.feed_forward();
        list.prediction();
    });
}

impl List<'_> {
    /// A gated delta net: `ssm_group_count` key heads and `ssm_time_step_rank` value heads of `ssm_state_size` each.
    pub(super) fn gated_delta_net(&mut self, gates: DeltaGates) {
        let hp = self.hp;
        let d = self.d();
        let head = u64::from(hp.ssm_state_size);
        let value_heads = u64::from(hp.ssm_time_step_rank);
        let keys = head * u64::from(hp.ssm_group_count);
        let values = head * value_heads;
        if self.facts().fused_ssm_in {
            self.add(stem!("ssm_in.weight"), [d, 2 * keys + 2 * values]);
        } else {
            self.add(stem!("attn_qkv.weight"), [d, 2 * keys + values]);
            self.add(stem!("attn_gate.weight"), [d, values]);
        }
        self.add(stem!("ssm_conv1d.weight"), [hp.ssm_conv_kernel.into(), 2 * keys + values]);
        self.add(stem!("ssm_dt.bias"), [value_heads]);
        self.add(stem!("ssm_a"), [value_heads]);
        if gates == DeltaGates::Joint {
            self.add(stem!("ssm_ba.weight"), [d, 2 * value_heads]);
        } else {
            self.add(stem!("ssm_beta.weight"), [d, value_heads]);
            self.add(stem!("ssm_alpha.weight"), [d, value_heads]);
        }
        self.add(stem!("ssm_norm.weight"), [head]);
        self.add(stem!("ssm_out.weight"), [values, d]);
    }
}
