//! Latent attention: DeepSeek V2 to V3.2 and what follows their design.

use super::list::{List, stem};
use crate::model::{Attention, Latent};

/// DeepSeek V2, V3, R1, Kimi K2, GLM-4.7-Flash.
pub(super) fn deepseek2(list: &mut List<'_>) {
    list.frame();
    list.all_blocks(|list| {
        list.norms();
        list.latent_attention();
        list.feed_forward();
        list.prediction();
    });
}

/// DeepSeek V3.2 and GLM 5: with the sparse-attention indexer.
pub(super) fn deepseek32(list: &mut List<'_>) {
    list.frame();
    list.all_blocks(|list| {
        list.norms();
        list.latent_attention();
        list.indexer();
        list.feed_forward();
        list.prediction();
    });
}

impl List<'_> {
    /// The projections of latent attention; files from before the split of `attn_kv_b` have it whole.
    pub(super) fn latent_attention(&mut self) {
        let hp = self.hp;
        let d = self.d();
        let Some(rank) = hp.kv_lora_rank.map(u64::from) else { return self.require("kv_lora_rank") };
        let block = self.number();
        let heads = u64::from(hp.head_count.at(block));
        let rope = self.rotated();
        let key = u64::from(hp.key_length_mla.unwrap_or_else(|| hp.key_length_at(block, false)));
        let value = u64::from(hp.value_length_mla.unwrap_or_else(|| hp.value_length_at(block, false)));
        // A rotated part wider than the head would leave nothing; `add` reports that.
        let unrotated = key.saturating_sub(rope);
        if let Some(query_rank) = hp.q_lora_rank.filter(|&rank| rank > 0).map(u64::from) {
            self.add(stem!("attn_q_a.weight"), [d, query_rank]);
            self.add(stem!("attn_q_a_norm.weight"), [query_rank]);
            self.add(stem!("attn_q_b.weight"), [query_rank, heads * key]);
        } else {
            self.add(stem!("attn_q.weight"), [d, heads * key]);
        }
        self.add(stem!("attn_kv_a_mqa.weight"), [d, rank + rope]);
        self.add(stem!("attn_kv_a_norm.weight"), [rank]);
        if hp.key_length_mla.is_some() {
            self.add(stem!("attn_k_b.weight"), [unrotated, rank, heads]);
            self.add(stem!("attn_v_b.weight"), [rank, value, heads]);
        } else {
            self.add(stem!("attn_kv_b.weight"), [rank, heads * (unrotated + value)]);
        }
        self.add(stem!("attn_output.weight"), [heads * value, d]);
    }

    /// The sparse-attention indexer, in the blocks that have one of their own.
    pub(super) fn indexer(&mut self) {
        let Attention::Latent(Latent { indexer: Some(indexer), .. }) = self.block().attention else { return };
        let d = self.d();
        let (heads, key) = (u64::from(indexer.head_count), u64::from(indexer.key_length));
        self.add(stem!("indexer.k_norm.weight"), [key]);
        self.add(stem!("indexer.k_norm.bias"), [key]);
        self.add(stem!("indexer.proj.weight"), [d, heads]);
        self.add(stem!("indexer.attn_k.weight"), [d, key]);
        self.add(stem!("indexer.attn_q_b.weight"), [self.hp.q_lora_rank.unwrap_or(0).into(), heads * key]);
    }
}
