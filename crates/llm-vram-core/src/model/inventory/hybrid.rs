//! State-space models and their hybrids with attention.

use super::list::{List, stem};

/// Granite 4: Mamba 2 or attention, then experts or a gated network.
pub(super) fn granitehybrid(list: &mut List<'_>) {
    list.frame();
    list.rope_freqs();
    list.main_blocks(|list| {
        list.norms();
        if list.is_recurrent() {
            list.mamba2();
        } else {
            list.heads_attention();
        }
        list.feed_forward();
    });
}

/// Nemotron-H: each block is Mamba 2, attention or a network of two matrices.
pub(super) fn nemotron_h(list: &mut List<'_>) {
    list.frame();
    list.main_blocks(|list| {
        list.vectors([stem!("attn_norm.weight")]);
        if list.is_recurrent() {
            list.mamba2();
        } else if list.dense_length() == 0 {
            list.heads_attention();
        } else {
            list.ungated(list.dense_length());
        }
    });
}

/// LFM2: gated short convolutions and attention.
pub(super) fn lfm2(list: &mut List<'_>) {
    list.frame_with(stem!("token_embd_norm.weight"));
    list.main_blocks(|list| {
        list.norms();
        list.feed_forward();
        if list.is_recurrent() {
            let d = list.d();
            list.add(stem!("shortconv.conv.weight"), [list.hp.shortconv_l_cache.into(), d]);
            list.add(stem!("shortconv.in_proj.weight"), [d, 3 * d]);
            list.add(stem!("shortconv.out_proj.weight"), [d, d]);
        } else {
            list.heads_attention();
            list.head_norms();
        }
    });
}

/// Jamba: Mamba 1 with norms, or attention; experts in some blocks.
pub(super) fn jamba(list: &mut List<'_>) {
    list.frame();
    list.main_blocks(|list| {
        list.norms();
        if list.is_recurrent() {
            list.mamba1();
            let rank = u64::from(list.hp.ssm_time_step_rank);
            let state = u64::from(list.hp.ssm_state_size);
            list.add(stem!("ssm_dt_norm.weight"), [rank]);
            list.add(stem!("ssm_b_norm.weight"), [state]);
            list.add(stem!("ssm_c_norm.weight"), [state]);
        } else {
            list.heads_attention();
        }
        list.feed_forward();
    });
}

/// Mamba.
pub(super) fn mamba(list: &mut List<'_>) {
    list.frame();
    list.main_blocks(|list| {
        list.vectors([stem!("attn_norm.weight")]);
        list.mamba1();
    });
}

impl List<'_> {
    /// A Mamba 1 mixer.
    pub(super) fn mamba1(&mut self) {
        let hp = self.hp;
        let d = self.d();
        let inner = u64::from(hp.ssm_inner_size);
        let state = u64::from(hp.ssm_state_size);
        let rank = u64::from(hp.ssm_time_step_rank);
        self.add(stem!("ssm_in.weight"), [d, 2 * inner]);
        self.add(stem!("ssm_conv1d.weight"), [hp.ssm_conv_kernel.into(), inner]);
        self.add(stem!("ssm_conv1d.bias"), [inner]);
        self.add(stem!("ssm_x.weight"), [inner, rank + 2 * state]);
        self.add(stem!("ssm_dt.weight"), [rank, inner]);
        self.add(stem!("ssm_dt.bias"), [inner]);
        self.add(stem!("ssm_a"), [state, inner]);
        self.add(stem!("ssm_d"), [inner]);
        self.add(stem!("ssm_out.weight"), [inner, d]);
    }

    /// A Mamba 2 mixer: `ssm_time_step_rank` heads in `ssm_group_count` groups.
    pub(super) fn mamba2(&mut self) {
        let hp = self.hp;
        let groups = u64::from(hp.ssm_group_count);
        if groups == 0 {
            return self.require("ssm_group_count");
        }
        let inner = u64::from(hp.ssm_inner_size);
        self.mamba2_without_norm();
        self.add(stem!("ssm_norm.weight"), [inner / groups, groups]);
    }

    /// A Mamba 2 mixer without the norm before its output projection.
    pub(super) fn mamba2_without_norm(&mut self) {
        let hp = self.hp;
        let d = self.d();
        let inner = u64::from(hp.ssm_inner_size);
        let heads = u64::from(hp.ssm_time_step_rank);
        let convolved = inner + 2 * u64::from(hp.ssm_group_count) * u64::from(hp.ssm_state_size);
        self.add(stem!("ssm_in.weight"), [d, inner + convolved + heads]);
        self.add(stem!("ssm_conv1d.weight"), [hp.ssm_conv_kernel.into(), convolved]);
        if self.facts().conv_bias {
            self.add(stem!("ssm_conv1d.bias"), [convolved]);
        }
        self.add(stem!("ssm_dt.bias"), [heads]);
        self.add(stem!("ssm_a"), [1, heads]);
        self.add(stem!("ssm_d"), [1, heads]);
        self.add(stem!("ssm_out.weight"), [inner, d]);
    }
}
