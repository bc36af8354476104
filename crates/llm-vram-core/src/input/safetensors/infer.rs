//! An architecture's numbers from the names and shapes of a checkpoint alone.
//!
//! Names follow transformers, which nearly all checkpoints do. What shapes leave open is assumed, and each
//! assumption becomes a remark.

use alloc::{format, string::String, vec, vec::Vec};

use super::{
    checkpoint::Weight,
    names::{self, Place},
};
use crate::{
    bounds,
    error::{Error, ErrorKind, Result},
    model::{Facts, Group, Hyperparameters, PerLayer, Warning},
};

/// Head sizes that are tried where no norm of queries or keys tells it.
const ASSUMED_HEAD: [u64; 4] = [128, 64, 80, 32];

/// What one layer's tensors say, in weights.
#[derive(Debug, Clone, Copy, Default)]
struct Layer {
    queries: u64,
    keys: u64,
    values: u64,
    fused: u64,
    output_inner: u64,
    head: u64,
    feed_forward: u64,
    kv_latent: u64,
    kv_rank: u64,
    q_rank: u64,
    experts: u64,
    expert_length: u64,
    recurrent: bool,
}

pub(super) fn hyperparameters(weights: &[Weight]) -> Result<(Hyperparameters, Vec<Warning>)> {
    let mut hp = Hyperparameters::new("unknown");
    hp.facts = Facts { tied: true, ..Facts::default() };
    let mut layers: Vec<Layer> = Vec::new();
    for weight in weights {
        let place = names::place(&weight.name);
        if place.group != Group::Text {
            continue;
        }
        let shape = weight.shape.as_deref().unwrap_or_default();
        match place.layer {
            Some(layer) if u64::from(layer) < bounds::BLOCK_COUNT.max => {
                if layers.len() <= layer as usize {
                    layers.resize(layer as usize + 1, Layer::default());
                }
                if let Some(known) = layers.get_mut(layer as usize) {
                    known.note(&place, shape);
                }
                hp.facts.qkv_bias |= place.stem.ends_with("q_proj.bias");
                hp.facts.o_bias |= place.stem.ends_with("o_proj.bias");
                hp.facts.qk_norm |= place.stem.ends_with("q_norm.weight");
            }
            Some(layer) => {
                return Err(bounds::BLOCK_COUNT.error(&format!("{layer}")).field(weight.name.clone()));
            }
            None => outside_layers(&mut hp, place.stem, shape)?,
        }
    }
    if layers.is_empty() || hp.embedding_length == 0 {
        let what = if layers.is_empty() { "layers" } else { "a token embedding" };
        return Err(Error::new(ErrorKind::MissingField, format!("the checkpoint's names show no {what} of a language model"))
            .field("config")
            .help("give the config.json beside it"));
    }
    let mut assumed = vec![String::from("attention is full in all layers")];
    hp.block_count = bounds::BLOCK_COUNT.check_u32(layers.len() as u64)?;
    attention(&mut hp, &layers, &mut assumed)?;
    feed_forward(&mut hp, &layers, &mut assumed)?;
    let mut warnings = Vec::new();
    if layers.iter().any(|layer| layer.recurrent) {
        warnings
            .push(Warning::new("state_not_inferred", "layers with a recurrent state are present: its size needs the config.json"));
    }
    let message = format!("the architecture is inferred from names and shapes; assumed: {}", assumed.join(", "));
    warnings.insert(0, Warning::new("inferred_from_shapes", message));
    Ok((hp, warnings))
}

fn outside_layers(hp: &mut Hyperparameters, stem: &str, shape: &[u64]) -> Result<()> {
    match (stem, shape) {
        (
            "embed_tokens.weight" | "wte.weight" | "embed_in.weight" | "embeddings.weight" | "word_embeddings.weight",
            &[rows, row],
        ) => {
            hp.vocab_size = bounds::VOCAB_SIZE.check_u32(rows)?;
            hp.embedding_length = bounds::EMBEDDING_LENGTH.check_u32(row)?;
        }
        ("lm_head.weight" | "embed_out.weight" | "output.weight", _) => hp.facts.tied = false,
        _ => {}
    }
    Ok(())
}

impl Layer {
    fn note(&mut self, place: &Place<'_>, shape: &[u64]) {
        let Some((module, leaf)) = place.stem.rsplit_once('.') else { return };
        let name = module.rsplit('.').next().unwrap_or(module);
        if leaf != "weight" && !module.ends_with("experts") && !place.stem.contains("A_log") {
            return;
        }
        let rows = shape.first().copied().unwrap_or(0);
        let row = shape.last().copied().unwrap_or(0);
        if place.stem.contains("linear_attn.") || place.stem.contains("mamba.") || place.stem.ends_with("A_log") {
            self.recurrent = true;
            return;
        }
        if let Some((_, after)) = place.stem.split_once("experts.") {
            self.note_expert(after, shape);
            return;
        }
        match name {
            "q_proj" | "q_b_proj" => self.queries = rows,
            "k_proj" => self.keys = rows,
            "v_proj" => self.values = rows,
            "qkv_proj" | "query_key_value" | "c_attn" | "Wqkv" => self.fused = rows,
            "o_proj" | "out_proj" => self.output_inner = row,
            "q_norm" | "k_norm" | "q_layernorm" | "k_layernorm" if shape.len() == 1 && rows <= 512 => self.head = rows,
            "kv_a_proj_with_mqa" => self.kv_latent = rows,
            "kv_a_layernorm" => self.kv_rank = rows,
            "q_a_proj" => self.q_rank = rows,
            "up_proj" | "fc1" | "dense_h_to_4h" | "c_fc" => self.feed_forward = rows,
            "gate_up_proj" => self.feed_forward = rows / 2,
            "gate" | "router" | "gate_proj" if name != "gate_proj" => self.experts = self.experts.max(rows),
            _ => {}
        }
    }

    /// A tensor below `experts.`: one expert's (`3.up_proj.weight`) or a stack's (`gate_up_proj`).
    fn note_expert(&mut self, after: &str, shape: &[u64]) {
        match after.split_once('.').map(|(number, rest)| (number.parse::<u64>(), rest)) {
            Some((Ok(number), rest)) => {
                self.experts = self.experts.max(number.saturating_add(1));
                if rest.starts_with("up_proj") || rest.starts_with("w3") {
                    self.expert_length = shape.first().copied().unwrap_or(0);
                }
            }
            _ => {
                if let &[count, a, b] = shape {
                    self.experts = self.experts.max(count);
                    if after.starts_with("down_proj") {
                        // Stacks are stored in either orientation; the hidden size is the larger side as a rule.
                        self.expert_length = a.min(b);
                    }
                }
            }
        }
    }
}

fn attention(hp: &mut Hyperparameters, layers: &[Layer], assumed: &mut Vec<String>) -> Result<()> {
    if let Some(latent) = layers.iter().find(|layer| layer.kv_latent > 0) {
        return latent_attention(hp, *latent, assumed);
    }
    let known = layers.iter().map(|layer| layer.head).find(|&head| head > 0);
    let widths = |layer: &Layer| -> (u64, u64) {
        match (layer.fused, layer.output_inner) {
            // Queries are as wide as what the output projection reads; keys and values share the rest.
            (fused, inner) if fused > inner && inner > 0 => (inner, (fused - inner) / 2),
            _ => (layer.queries, layer.keys),
        }
    };
    let fits = |head: u64| layers.iter().map(widths).all(|(queries, keys)| queries % head == 0 && keys % head == 0);
    let head = match known.filter(|&head| fits(head)) {
        Some(head) => head,
        None => {
            let head = ASSUMED_HEAD.into_iter().find(|&head| fits(head)).unwrap_or(1);
            assumed.push(format!("a head size of {head}"));
            head
        }
    };
    let mut queries = Vec::with_capacity(layers.len());
    let mut keys = Vec::with_capacity(layers.len());
    for layer in layers {
        let (query_width, key_width) = widths(layer);
        let kv = bounds::HEAD_COUNT_KV.check_u32(key_width / head)?;
        let all = bounds::HEAD_COUNT.check_u32(query_width / head)?;
        // A gate may be computed along with the queries; the output projection tells the real width.
        let inner = bounds::HEAD_COUNT.check_u32(layer.output_inner / head)?;
        let heads = if inner > 0 && inner < all { inner } else { all };
        queries.push(if kv > 0 && (heads == 0 || heads % kv != 0) { kv } else { heads });
        keys.push(kv);
    }
    hp.head_count = PerLayer::Each(queries);
    hp.head_count_kv = PerLayer::Each(keys);
    let length = bounds::HEAD_LENGTH.check_u32(head)?;
    hp.key_length = Some(length);
    let value = layers.iter().find(|layer| layer.keys > 0 && layer.values > 0 && layer.values != layer.keys);
    let value = value.and_then(|layer| (layer.values.checked_mul(head)?).checked_div(layer.keys)).unwrap_or(head);
    hp.value_length = Some(bounds::HEAD_LENGTH.check_u32(value)?);
    Ok(())
}

/// The cached row is known exactly; only the decompressed heads are assumed.
fn latent_attention(hp: &mut Hyperparameters, layer: Layer, assumed: &mut Vec<String>) -> Result<()> {
    const HEAD: u64 = 128;
    let rank = if layer.kv_rank > 0 { layer.kv_rank } else { layer.kv_latent };
    let rope = layer.kv_latent.saturating_sub(rank);
    let heads = (layer.output_inner / HEAD).max(1);
    assumed.push(format!("{heads} heads with values of {HEAD}"));
    hp.head_count = PerLayer::Uniform(bounds::HEAD_COUNT.check_u32(heads)?);
    hp.head_count_kv = PerLayer::Uniform(1);
    hp.kv_lora_rank = Some(bounds::LORA_RANK.check_u32(rank)?);
    hp.q_lora_rank = if layer.q_rank > 0 { Some(bounds::LORA_RANK.check_u32(layer.q_rank)?) } else { None };
    hp.rope_dimension_count = Some(bounds::HEAD_LENGTH.check_u32(rope.max(1))?);
    hp.key_length = Some(bounds::HEAD_LENGTH.check_u32(layer.kv_latent)?);
    hp.value_length = Some(bounds::HEAD_LENGTH.check_u32(rank)?);
    hp.key_length_mla = Some(bounds::HEAD_LENGTH.check_u32((layer.queries / heads).max(1))?);
    hp.value_length_mla = Some(bounds::HEAD_LENGTH.check_u32((layer.output_inner / heads).max(1))?);
    Ok(())
}

fn feed_forward(hp: &mut Hyperparameters, layers: &[Layer], assumed: &mut Vec<String>) -> Result<()> {
    const USED: u32 = 8;
    let lengths: Result<Vec<u32>> = layers.iter().map(|layer| bounds::FEED_FORWARD_LENGTH.check_u32(layer.feed_forward)).collect();
    hp.feed_forward_length = PerLayer::Each(lengths?);
    let Some(experts) = layers.iter().map(|layer| layer.experts).max().filter(|&count| count > 1) else { return Ok(()) };
    hp.expert_count = bounds::EXPERT_COUNT.check_u32(experts)?;
    hp.expert_used_count = USED.min(hp.expert_count);
    assumed.push(format!("{} experts used per token", hp.expert_used_count));
    let length = layers.iter().map(|layer| layer.expert_length).max().unwrap_or(0);
    hp.expert_feed_forward_length = Some(bounds::EXPERT_FEED_FORWARD_LENGTH.check_u32(length)?).filter(|&length| length > 0);
    let dense = layers.iter().take_while(|layer| layer.experts == 0).count();
    hp.leading_dense_block_count = u32::try_from(dense).unwrap_or(u32::MAX);
    Ok(())
}
