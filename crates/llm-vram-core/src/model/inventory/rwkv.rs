//! RWKV 7.

use super::list::{List, stem};

/// RWKV 7: time mixing and channel mixing, no attention.
pub(super) fn rwkv7(list: &mut List<'_>) {
    list.frame_with_norm_bias();
    list.vectors([stem!("token_embd_norm.weight"), stem!("token_embd_norm.bias")]);
    list.main_blocks(|list| {
        list.vectors([stem!("attn_norm.weight"), stem!("attn_norm.bias"), stem!("attn_norm_2.weight"), stem!("attn_norm_2.bias")]);
        time_mix(list);
        channel_mix(list);
    });
}

fn time_mix(list: &mut List<'_>) {
    let hp = list.hp;
    let d = list.d();
    let decay = u64::from(hp.decay_lora_rank);
    let rate = u64::from(hp.iclr_lora_rank);
    // The first block has nothing to mix with; its unused matrices have the other rank.
    let mix = if list.number() == 0 { rate } else { u64::from(hp.value_residual_mix_lora_rank) };
    let gate = u64::from(hp.gate_lora_rank);
    list.vectors([stem!("time_mix_w0.weight"), stem!("time_mix_a0.weight"), stem!("time_mix_v0.weight")]);
    list.add(stem!("time_mix_w1.weight"), [d, decay]);
    list.add(stem!("time_mix_w2.weight"), [decay, d]);
    list.add(stem!("time_mix_a1.weight"), [d, rate]);
    list.add(stem!("time_mix_a2.weight"), [rate, d]);
    list.add(stem!("time_mix_v1.weight"), [d, mix]);
    list.add(stem!("time_mix_v2.weight"), [mix, d]);
    list.add(stem!("time_mix_g1.weight"), [d, gate]);
    list.add(stem!("time_mix_g2.weight"), [gate, d]);
    list.add(stem!("time_mix_lerp_fused.weight"), [d, 1, 1, 6]);
    list.vectors([stem!("time_mix_k_k.weight"), stem!("time_mix_k_a.weight"), stem!("time_mix_r_k.weight")]);
    list.vectors([stem!("time_mix_ln.weight"), stem!("time_mix_ln.bias")]);
    list.add(stem!("time_mix_key.weight"), [d, d]);
    list.add(stem!("time_mix_value.weight"), [d, d]);
    list.add(stem!("time_mix_receptance.weight"), [d, d]);
    list.add(stem!("time_mix_output.weight"), [d, d]);
}

fn channel_mix(list: &mut List<'_>) {
    let d = list.d();
    let length = list.dense_length();
    list.vectors([stem!("channel_mix_lerp_k.weight")]);
    list.add(stem!("channel_mix_key.weight"), [d, length]);
    list.add(stem!("channel_mix_value.weight"), [length, d]);
}
