//! Vision towers: their parameters as a group of their own.
//!
//! Source: module definitions in `src/transformers/models/*/modeling_*.py`, transformers 5.23.0.

use alloc::{format, string::String, vec::Vec};

use super::fields::Fields;
use crate::{
    error::Result,
    model::{Group, Hyperparameters, Storage, Tensor},
};

/// The tensors of the tower that a wrapper config describes, or `None` if its design is not known here.
///
/// # Errors
/// Those of the fields that the tower's sizes rest on.
pub(super) fn read(wrapper: &Fields<'_>, vision: &Fields<'_>, text: &Hyperparameters) -> Result<Option<Vec<Tensor>>> {
    let d = u64::from(text.embedding_length);
    let parts = match wrapper.model_type() {
        "qwen3_vl" | "qwen3_vl_moe" => merged_patches(vision, true)?,
        "qwen3_5" | "qwen3_5_moe" => merged_patches(vision, false)?,
        "qwen2_5_vl" => gated_merged_patches(vision)?,
        "gemma3" => siglip(vision, d)?,
        "mistral3" => pixtral(wrapper, vision, d)?,
        "llama4" => llama4(vision, d)?,
        "kimi_k25" => moonvit(vision, d)?,
        "gemma4" => gemma4(vision, d)?,
        _ => return Ok(None),
    };
    Ok(Some(parts.tensors))
}

/// The tensors of a tower while they are listed.
struct Parts {
    tensors: Vec<Tensor>,
    prefix: String,
}

impl Parts {
    fn add(&mut self, name: &str, shape: [u64; 2]) {
        let shape = [shape[0], shape[1], 1, 1];
        let tensor = Tensor::new("clip", None, format!("{}{name}", self.prefix), shape);
        // Quantisers of the language model leave towers as they are.
        self.tensors.push(Tensor { group: Group::Tower, storage: Storage::KeptSource, ..tensor });
    }

    fn vector(&mut self, name: &str, length: u64) {
        self.add(name, [length, 1]);
    }

    /// A matrix with its bias.
    fn linear(&mut self, name: &str, input: u64, output: u64) {
        self.add(&format!("{name}.weight"), [input, output]);
        self.vector(&format!("{name}.bias"), output);
    }

    /// A norm with its bias.
    fn layer_norm(&mut self, name: &str, length: u64) {
        self.vector(&format!("{name}.weight"), length);
        self.vector(&format!("{name}.bias"), length);
    }

    fn each_block(&mut self, depth: u32, block: impl Fn(&mut Self)) {
        for number in 0..depth {
            self.prefix = format!("v.blk.{number}.");
            block(self);
        }
        self.prefix = String::from("v.");
    }

    fn new() -> Self {
        Self { tensors: Vec::new(), prefix: String::from("v.") }
    }
}

fn wide(fields: &Fields<'_>, key: &str) -> Result<u64> {
    fields.number(key).map(u64::from)
}

/// A bound for products of a tower's sizes: published ones stay below 20,000.
fn narrow(fields: &Fields<'_>, key: &str) -> Result<u64> {
    Ok(wide(fields, key)?.min(1 << 20))
}

fn depth(fields: &Fields<'_>, key: &str) -> Result<u32> {
    crate::bounds::BLOCK_COUNT.check_u32(fields.number(key)?.into())
}

/// Qwen 3 VL and Qwen 3.5: plain blocks, patches merged by a two-layer network; in Qwen 3 VL also three
/// such networks that feed early language blocks.
fn merged_patches(vision: &Fields<'_>, deepstack: bool) -> Result<Parts> {
    let h = narrow(vision, "hidden_size")?;
    let ff = narrow(vision, "intermediate_size")?;
    let out = narrow(vision, "out_hidden_size")?;
    let patch = narrow(vision, "patch_size")?.min(1 << 10);
    let merged = h * narrow(vision, "spatial_merge_size")?.min(64).pow(2);
    let pixels = u64::from(vision.number_or("in_channels", 3)?.min(64))
        * u64::from(vision.number_or("temporal_patch_size", 2)?.min(64))
        * patch
        * patch;
    let mut parts = Parts::new();
    parts.linear("patch_embd", pixels, h);
    parts.add("position_embd.weight", [h, u64::from(vision.number_or("num_position_embeddings", 2304)?)]);
    parts.each_block(depth(vision, "depth")?, |block| {
        block.layer_norm("ln1", h);
        block.linear("attn_qkv", h, 3 * h);
        block.linear("attn_out", h, h);
        block.layer_norm("ln2", h);
        block.linear("ffn_up", h, ff);
        block.linear("ffn_down", ff, h);
    });
    parts.layer_norm("post_ln", h);
    parts.linear("mm.0", merged, merged);
    parts.linear("mm.2", merged, out);
    if deepstack {
        let layers = vision.numbers("deepstack_visual_indexes")?.map_or(3, |layers| layers.len());
        for layer in 0..layers.min(64) {
            parts.layer_norm(&format!("deepstack.{layer}.norm"), merged);
            parts.linear(&format!("deepstack.{layer}.fc1"), merged, merged);
            parts.linear(&format!("deepstack.{layer}.fc2"), merged, out);
        }
    }
    Ok(parts)
}

/// Qwen 2.5 VL: gated feed-forward parts, patches merged by a two-layer network.
fn gated_merged_patches(vision: &Fields<'_>) -> Result<Parts> {
    let h = narrow(vision, "hidden_size")?;
    let ff = narrow(vision, "intermediate_size")?;
    let out = narrow(vision, "out_hidden_size")?;
    let patch = narrow(vision, "patch_size")?.min(1 << 10);
    let merged = h * narrow(vision, "spatial_merge_size")?.min(64).pow(2);
    let mut parts = Parts::new();
    parts.add("patch_embd.weight", [3 * u64::from(vision.number_or("temporal_patch_size", 2)?.min(64)) * patch * patch, h]);
    parts.each_block(depth(vision, "depth")?, |block| {
        block.vector("ln1.weight", h);
        block.linear("attn_qkv", h, 3 * h);
        block.linear("attn_out", h, h);
        block.vector("ln2.weight", h);
        block.linear("ffn_gate", h, ff);
        block.linear("ffn_up", h, ff);
        block.linear("ffn_down", ff, h);
    });
    parts.vector("post_ln.weight", h);
    parts.linear("mm.0", merged, merged);
    parts.linear("mm.2", merged, out);
    Ok(parts)
}

/// Gemma 3: SigLIP without its pooling head, and one projection.
fn siglip(vision: &Fields<'_>, d: u64) -> Result<Parts> {
    let h = narrow(vision, "hidden_size")?;
    let ff = narrow(vision, "intermediate_size")?;
    let patch = narrow(vision, "patch_size")?.clamp(1, 1 << 10);
    let side = narrow(vision, "image_size")? / patch;
    let mut parts = Parts::new();
    parts.linear("patch_embd", 3 * patch * patch, h);
    parts.add("position_embd.weight", [h, side * side]);
    parts.each_block(depth(vision, "num_hidden_layers")?, |block| {
        block.layer_norm("ln1", h);
        for name in ["attn_q", "attn_k", "attn_v", "attn_out"] {
            block.linear(name, h, h);
        }
        block.layer_norm("ln2", h);
        block.linear("ffn_up", h, ff);
        block.linear("ffn_down", ff, h);
    });
    parts.layer_norm("post_ln", h);
    parts.add("mm.input_projection.weight", [d, h]);
    parts.vector("mm.soft_emb_norm.weight", h);
    Ok(parts)
}

/// Mistral Small 3.1 and later: Pixtral, patches merged two by two.
fn pixtral(wrapper: &Fields<'_>, vision: &Fields<'_>, d: u64) -> Result<Parts> {
    let h = narrow(vision, "hidden_size")?;
    let ff = narrow(vision, "intermediate_size")?;
    let patch = narrow(vision, "patch_size")?.min(1 << 10);
    let merge = u64::from(wrapper.number_or("spatial_merge_size", 2)?.min(64));
    let bias = wrapper.flag("multimodal_projector_bias")?;
    let mut parts = Parts::new();
    parts.add("patch_embd.weight", [3 * patch * patch, h]);
    parts.vector("pre_ln.weight", h);
    parts.each_block(depth(vision, "num_hidden_layers")?, |block| {
        block.vector("ln1.weight", h);
        for name in ["attn_q.weight", "attn_k.weight", "attn_v.weight", "attn_out.weight"] {
            block.add(name, [h, h]);
        }
        block.vector("ln2.weight", h);
        block.add("ffn_gate.weight", [h, ff]);
        block.add("ffn_up.weight", [h, ff]);
        block.add("ffn_down.weight", [ff, h]);
    });
    parts.vector("mm.input_norm.weight", h);
    parts.add("mm.patch_merger.weight", [h * merge * merge, h]);
    parts.add("mm.1.weight", [h, d]);
    parts.add("mm.2.weight", [d, d]);
    if bias {
        parts.vector("mm.1.bias", d);
        parts.vector("mm.2.bias", d);
    }
    Ok(parts)
}

/// Llama 4: unfolded patches, a class embedding, a pixel-shuffle network.
fn llama4(vision: &Fields<'_>, d: u64) -> Result<Parts> {
    let h = narrow(vision, "hidden_size")?;
    let ff = narrow(vision, "intermediate_size")?;
    let patch = narrow(vision, "patch_size")?.clamp(1, 1 << 10);
    let side = narrow(vision, "image_size")? / patch;
    let (input, output) = (narrow(vision, "projector_input_dim")?, narrow(vision, "projector_output_dim")?);
    let mut parts = Parts::new();
    parts.add("patch_embd.weight", [3 * patch * patch, h]);
    parts.vector("class_embd", h);
    parts.add("position_embd.weight", [h, side * side + 1]);
    parts.layer_norm("pre_ln", h);
    parts.each_block(depth(vision, "num_hidden_layers")?, |block| {
        block.layer_norm("ln1", h);
        for name in ["attn_q", "attn_k", "attn_v", "attn_out"] {
            block.linear(name, h, h);
        }
        block.layer_norm("ln2", h);
        block.linear("ffn_up", h, ff);
        block.linear("ffn_down", ff, h);
    });
    parts.layer_norm("post_ln", h);
    parts.add("mm.model.mlp.1.weight", [ff, input]);
    parts.add("mm.model.mlp.2.weight", [output, output]);
    parts.add("mm.model.fc.weight", [narrow(vision, "vision_output_dim")?, d]);
    Ok(parts)
}

/// Kimi K2.5: MoonViT, patches merged two by two.
fn moonvit(vision: &Fields<'_>, d: u64) -> Result<Parts> {
    let h = narrow(vision, "hidden_size")?;
    let ff = narrow(vision, "intermediate_size")?;
    let patch = narrow(vision, "patch_size")?.min(1 << 10);
    let side = |key| Ok(u64::from(vision.number_or(key, 64)?.min(1 << 16)));
    let merge = vision.numbers("merge_kernel_size")?.unwrap_or_else(|| alloc::vec![2, 2]);
    let merged = merge.into_iter().fold(h, |width, factor| width.saturating_mul(u64::from(factor).min(64)).min(1 << 26));
    let positions: Result<u64> = side("pos_emb_height").and_then(|height| Ok(height * side("pos_emb_width")?));
    let mut parts = Parts::new();
    parts.linear("patch_embd", 3 * patch * patch, h);
    parts.add("position_embd.weight", [h, positions?]);
    parts.each_block(depth(vision, "num_hidden_layers")?, |block| {
        block.layer_norm("ln1", h);
        for name in ["attn_q", "attn_k", "attn_v", "attn_out"] {
            block.linear(name, h, h);
        }
        block.layer_norm("ln2", h);
        block.linear("ffn_up", h, ff);
        block.linear("ffn_down", ff, h);
    });
    parts.layer_norm("post_ln", h);
    parts.layer_norm("mm.input_norm", h);
    parts.linear("mm.1", merged, merged);
    parts.linear("mm.2", merged, d);
    Ok(parts)
}

/// Gemma 4: gated blocks with norms on both sides, two position tables, one projection.
fn gemma4(vision: &Fields<'_>, d: u64) -> Result<Parts> {
    let h = narrow(vision, "hidden_size")?;
    let ff = narrow(vision, "intermediate_size")?;
    let patch = narrow(vision, "patch_size")?.min(1 << 10);
    let heads = narrow(vision, "num_attention_heads")?;
    let length = if vision.states("head_dim") { narrow(vision, "head_dim")? } else { h / heads.max(1) };
    let kv = if vision.states("num_key_value_heads") { narrow(vision, "num_key_value_heads")? } else { heads };
    let mut parts = Parts::new();
    parts.add("patch_embd.weight", [3 * patch * patch, h]);
    parts.add("position_embd.weight", [h, 2 * u64::from(vision.number_or("position_embedding_size", 10_240)?)]);
    parts.each_block(depth(vision, "num_hidden_layers")?, |block| {
        block.add("attn_q.weight", [h, heads * length]);
        block.add("attn_k.weight", [h, kv * length]);
        block.add("attn_v.weight", [h, kv * length]);
        block.add("attn_out.weight", [heads * length, h]);
        block.vector("attn_q_norm.weight", length);
        block.vector("attn_k_norm.weight", length);
        for name in ["ln1.weight", "attn_post_norm.weight", "ln2.weight", "ffn_post_norm.weight"] {
            block.vector(name, h);
        }
        block.add("ffn_gate.weight", [h, ff]);
        block.add("ffn_up.weight", [h, ff]);
        block.add("ffn_down.weight", [ff, h]);
    });
    parts.add("mm.input_projection.weight", [h, d]);
    Ok(parts)
}
