//! Parts of a list that several architectures share.

use super::list::{List, Stem, stem};
use crate::model::{FeedForward, MtpExtra};

/// How the attention projections of a block are stored.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Projections {
    /// Query, key and value each on its own.
    Separate,
    /// One matrix for the three.
    Fused,
    /// Separate, the query matrix twice as wide because it carries the output gate.
    Gated,
}

impl List<'_> {
    /// Token embedding, final norm and, unless tied, the output matrix.
    pub(super) fn frame(&mut self) {
        self.frame_with(stem!("output_norm.weight"));
    }

    /// As [`List::frame`], with a bias at the final norm.
    pub(super) fn frame_with_norm_bias(&mut self) {
        self.frame();
        self.add(stem!("output_norm.bias"), [self.d()]);
    }

    /// As [`List::frame`], with another name for the final norm.
    pub(super) fn frame_with(&mut self, norm: Stem) {
        self.token_embedding_and_output();
        self.add(norm, [self.d()]);
    }

    /// Token embedding and, unless tied, the output matrix; a classification head, where present.
    pub(super) fn token_embedding_and_output(&mut self) {
        let (d, vocab) = (self.d(), self.vocab());
        self.add(stem!("token_embd.weight"), [d, vocab]);
        if !self.facts().tied {
            self.add(stem!("output.weight"), [d, vocab]);
            if self.facts().output_bias {
                self.add(stem!("output.bias"), [vocab]);
            }
        }
        if self.facts().cls_out > 0 {
            self.add(stem!("cls.output.weight"), [d, self.facts().cls_out.into()]);
        }
    }

    /// The rotated part of a head: its own key, else the key head of the first block.
    pub(super) fn rotated(&self) -> u64 {
        let hp = self.hp;
        hp.rope_dimension_count.unwrap_or_else(|| hp.key_length_at(0, false)).into()
    }

    /// The frequency factors of Llama 3's context extension, where present.
    pub(super) fn rope_freqs(&mut self) {
        if self.facts().rope_freqs {
            self.add(stem!("rope_freqs.weight"), [self.rotated() / 2]);
        }
    }

    /// The factors of LongRoPE, where present.
    pub(super) fn rope_factors(&mut self, rotated: u64) {
        if self.facts().rope_factors {
            self.add(stem!("rope_factors_long.weight"), [rotated / 2]);
            self.add(stem!("rope_factors_short.weight"), [rotated / 2]);
        }
    }

    /// Vectors of the hidden size.
    pub(super) fn vectors<const N: usize>(&mut self, stems: [Stem; N]) {
        for stem in stems {
            self.add(stem, [self.d()]);
        }
    }

    /// The two norms of most blocks.
    pub(super) fn norms(&mut self) {
        self.vectors([stem!("attn_norm.weight"), stem!("ffn_norm.weight")]);
    }

    /// Norms before and after both halves of a block.
    pub(super) fn sandwich_norms(&mut self) {
        self.norms();
        self.vectors([stem!("post_attention_norm.weight"), stem!("post_ffw_norm.weight")]);
    }

    /// The projections of a block's heads, with the biases that the facts name; nothing without heads.
    pub(super) fn attention(&mut self, projections: Projections) {
        let Some(heads) = self.heads() else { return };
        let d = self.d();
        let inner = u64::from(heads.head_count) * u64::from(heads.key_length);
        let query = if projections == Projections::Gated { 2 * inner } else { inner };
        let key = u64::from(heads.head_count_kv) * u64::from(heads.key_length);
        let value = u64::from(heads.head_count_kv) * u64::from(heads.value_length);
        if projections == Projections::Fused {
            self.add(stem!("attn_qkv.weight"), [d, query + key + value]);
            if self.facts().qkv_bias {
                self.add(stem!("attn_qkv.bias"), [query + key + value]);
            }
        } else {
            self.add(stem!("attn_q.weight"), [d, query]);
            self.add(stem!("attn_k.weight"), [d, key]);
            self.add(stem!("attn_v.weight"), [d, value]);
            if self.facts().qkv_bias {
                self.add(stem!("attn_q.bias"), [query]);
                self.add(stem!("attn_k.bias"), [key]);
                self.add(stem!("attn_v.bias"), [value]);
            }
        }
        // The output projection takes what the heads read, which is as wide as their values.
        self.add(stem!("attn_output.weight"), [u64::from(heads.head_count) * u64::from(heads.value_length), d]);
        if self.facts().o_bias {
            self.add(stem!("attn_output.bias"), [d]);
        }
    }

    /// The projections of a block's heads, fused or separate as the facts say.
    pub(super) fn heads_attention(&mut self) {
        self.attention(if self.facts().fused_qkv { Projections::Fused } else { Projections::Separate });
    }

    /// Norms of each query and key head.
    pub(super) fn head_norms(&mut self) {
        if let Some(heads) = self.heads() {
            self.add(stem!("attn_q_norm.weight"), [heads.key_length.into()]);
            self.add(stem!("attn_k_norm.weight"), [heads.key_length.into()]);
        }
    }

    /// Norms over all query heads and all key heads together.
    pub(super) fn wide_head_norms(&mut self) {
        if let Some(heads) = self.heads() {
            let length = u64::from(heads.key_length);
            self.add(stem!("attn_q_norm.weight"), [u64::from(heads.head_count) * length]);
            self.add(stem!("attn_k_norm.weight"), [u64::from(heads.head_count_kv) * length]);
        }
    }

    /// The feed-forward part of the block as its description says: gated network, experts, or nothing.
    pub(super) fn feed_forward(&mut self) {
        match self.block().feed_forward {
            FeedForward::None => {}
            FeedForward::Dense { length } => self.gated(length.into()),
            FeedForward::Experts { .. } => {
                self.experts();
                self.shared_experts();
            }
        }
    }

    /// A gated network of three matrices.
    pub(super) fn gated(&mut self, length: u64) {
        let d = self.d();
        self.add(stem!("ffn_gate.weight"), [d, length]);
        if self.facts().ffn_bias {
            self.add(stem!("ffn_gate.bias"), [length]);
        }
        self.ungated(length);
    }

    /// A network of two matrices.
    pub(super) fn ungated(&mut self, length: u64) {
        let d = self.d();
        self.add(stem!("ffn_up.weight"), [d, length]);
        self.add(stem!("ffn_down.weight"), [length, d]);
        if self.facts().ffn_bias {
            self.add(stem!("ffn_up.bias"), [length]);
            self.add(stem!("ffn_down.bias"), [d]);
        }
    }

    /// A gated network whose gate and up matrices are one.
    pub(super) fn joined_gate(&mut self, length: u64) {
        let d = self.d();
        self.add(stem!("ffn_up.weight"), [d, 2 * length]);
        self.add(stem!("ffn_down.weight"), [length, d]);
    }

    /// The router and the routed experts.
    pub(super) fn experts(&mut self) {
        let FeedForward::Experts { count, length, .. } = self.block().feed_forward else { return };
        let (d, count, length) = (self.d(), u64::from(count), u64::from(length));
        self.add(stem!("ffn_gate_inp.weight"), [d, count]);
        if self.facts().exp_probs_b {
            // The loader asks for this one without a suffix (llama.cpp, `src/models/hy-v3.cpp`).
            let without_suffix = self.hp.architecture == "hy_v3";
            self.add(if without_suffix { stem!("exp_probs_b") } else { stem!("exp_probs_b.bias") }, [count]);
        }
        if self.facts().fused_gate_up_exps {
            self.add(stem!("ffn_gate_up_exps.weight"), [d, 2 * length, count]);
        } else {
            self.add(stem!("ffn_gate_exps.weight"), [d, length, count]);
            self.add(stem!("ffn_up_exps.weight"), [d, length, count]);
        }
        self.add(stem!("ffn_down_exps.weight"), [length, d, count]);
    }

    /// Biases of the router and of the routed experts.
    pub(super) fn expert_biases(&mut self) {
        let FeedForward::Experts { count, length, .. } = self.block().feed_forward else { return };
        let (count, length) = (u64::from(count), u64::from(length));
        self.add(stem!("ffn_gate_inp.bias"), [count]);
        if self.facts().fused_gate_up_exps {
            self.add(stem!("ffn_gate_up_exps.bias"), [2 * length, count]);
        } else {
            self.add(stem!("ffn_gate_exps.bias"), [length, count]);
            self.add(stem!("ffn_up_exps.bias"), [length, count]);
        }
        self.add(stem!("ffn_down_exps.bias"), [self.d(), count]);
    }

    /// The shared experts, where there are any.
    pub(super) fn shared_experts(&mut self) {
        let FeedForward::Experts { shared_length, .. } = self.block().feed_forward else { return };
        if shared_length > 0 {
            let (d, length) = (self.d(), u64::from(shared_length));
            self.add(stem!("ffn_gate_shexp.weight"), [d, length]);
            self.add(stem!("ffn_up_shexp.weight"), [d, length]);
            self.add(stem!("ffn_down_shexp.weight"), [length, d]);
        }
    }

    /// What a multi-token-prediction block has beside an ordinary one; nothing in other blocks.
    pub(super) fn prediction(&mut self) {
        if !self.block().is_mtp {
            return;
        }
        let (d, vocab) = (self.d(), self.vocab());
        self.add(stem!("nextn.eh_proj.weight"), [2 * d, d]);
        self.vectors([stem!("nextn.enorm.weight"), stem!("nextn.hnorm.weight")]);
        match self.facts().mtp_extra {
            MtpExtra::None => {}
            MtpExtra::HeadNorm => self.add(stem!("nextn.shared_head_norm.weight"), [d]),
            MtpExtra::OwnTables => {
                self.add(stem!("nextn.embed_tokens.weight"), [d, vocab]);
                self.add(stem!("nextn.shared_head_head.weight"), [d, vocab]);
                self.add(stem!("nextn.shared_head_norm.weight"), [d]);
            }
        }
    }
}
