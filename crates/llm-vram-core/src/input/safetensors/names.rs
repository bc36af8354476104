//! What the name of a checkpoint's tensor says about its place in the model.

use crate::model::Group;

/// Path segments of vision and audio towers and their projectors.
const TOWERS: &[&str] = &[
    "aligner",
    "audio_encoder",
    "audio_model",
    "audio_tower",
    "connector",
    "embed_audio",
    "embed_vision",
    "image_newline",
    "mlp1",
    "mm_projector",
    "multi_modal_projector",
    "multimodal_projector",
    "patch_merger",
    "speech_encoder",
    "vision_adapter",
    "vision_embedder",
    "vision_encoder",
    "vision_language_adapter",
    "vision_model",
    "vision_tower",
    "visual",
];

/// Path segments whose next segment is the number of a layer.
const LAYERS: &[&str] = &["layers", "h", "blocks", "block", "layer"];

/// The place of a tensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place<'n> {
    pub(super) group: Group,
    /// The layer of the language model, where it belongs to one.
    pub(super) layer: Option<u32>,
    /// The name below the layer, or the whole name without leading `model.` parts.
    pub(super) stem: &'n str,
}

/// The place of the tensor `name`, for example layer 3 and `self_attn.q_proj.weight`.
pub(super) fn place(name: &str) -> Place<'_> {
    let mut rest = name;
    let mut group = Group::Text;
    let mut leading = true;
    let mut stem = name;
    while let Some((segment, after)) = rest.split_once('.') {
        if TOWERS.contains(&segment) {
            return Place { group: Group::Tower, layer: None, stem: name };
        }
        if segment == "mtp" {
            group = Group::Mtp;
        }
        if LAYERS.contains(&segment)
            && let Some((number, below)) = after.split_once('.')
            && let Ok(layer) = number.parse()
        {
            let layer = (group == Group::Text).then_some(layer);
            return Place { group, layer, stem: if layer.is_some() { below } else { name } };
        }
        leading &=
            matches!(segment, "model" | "language_model" | "transformer" | "backbone" | "text_model" | "decoder" | "gpt_neox");
        if leading {
            stem = after;
        }
        rest = after;
    }
    Place { group, layer: None, stem: if group == Group::Text { stem } else { name } }
}
