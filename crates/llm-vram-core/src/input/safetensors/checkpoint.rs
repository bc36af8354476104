//! A checkpoint: the tensors of one or several safetensors files, and the model that they hold.

use alloc::{borrow::Cow, collections::BTreeMap, format, string::String, vec::Vec};

use super::{
    dtype::Dtype,
    header::{Header, TensorInfo},
    infer,
    names::{self, Place},
    packed,
};
use crate::{
    bounds,
    error::{Error, ErrorKind, Result},
    model::{Attention, Group, Hyperparameters, Model, Stored, Tensor, Warning},
    units::Bytes,
};

/// A matrix or vector of a checkpoint; scales and zero points are part of the weight that they belong to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Weight {
    /// The name, as in the checkpoint; that of a packed weight ends in `.weight`.
    pub name: String,
    /// Dimensions in weights, the row last; `None` if it is packed in a way that is not recognised.
    pub shape: Option<Vec<u64>>,
    /// The element type or packing, for example `BF16`, `AWQ-4bit`, `NF4`.
    pub type_name: Cow<'static, str>,
    /// Everything stored for it.
    pub bytes: Bytes,
}

/// The tensors of one or several safetensors files.
#[derive(Debug, Clone)]
pub struct Checkpoint {
    weights: Vec<Weight>,
    dtypes: BTreeMap<Dtype, (u64, Bytes)>,
    total_bytes: Bytes,
}

impl Checkpoint {
    /// The checkpoint in a single file.
    ///
    /// # Errors
    /// [`ErrorKind::MissingField`] without tensors.
    pub fn from_header(header: &Header<'_>) -> Result<Self> {
        Self::new(header.tensors().iter())
    }

    pub(super) fn new<'c, 'a: 'c>(tensors: impl Iterator<Item = &'c TensorInfo<'a>>) -> Result<Self> {
        let tensors: Vec<&TensorInfo<'a>> = tensors.collect();
        if tensors.is_empty() {
            return Err(Error::new(ErrorKind::MissingField, "the checkpoint holds no tensors").field("tensors"));
        }
        let mut dtypes = BTreeMap::new();
        let mut total_bytes = Bytes::ZERO;
        for tensor in &tensors {
            let (count, bytes) = dtypes.entry(tensor.dtype).or_insert((0_u64, Bytes::ZERO));
            *count += 1;
            *bytes = bytes.checked_add(tensor.bytes)?;
            total_bytes = total_bytes.checked_add(tensor.bytes)?;
        }
        let mut weights: Vec<Weight> = packed::unpack(&tensors)
            .into_iter()
            .map(|weight| Weight { name: weight.name, shape: weight.shape, type_name: weight.type_name, bytes: weight.bytes })
            .collect();
        weights.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        Ok(Self { weights, dtypes, total_bytes })
    }

    /// The weights, sorted by name.
    #[must_use]
    pub fn weights(&self) -> &[Weight] {
        &self.weights
    }

    /// Bytes of all tensors, side data included.
    #[must_use]
    pub const fn total_bytes(&self) -> Bytes {
        self.total_bytes
    }

    /// Tensors and bytes of each element type.
    pub fn dtypes(&self) -> impl Iterator<Item = (Dtype, u64, Bytes)> {
        self.dtypes.iter().map(|(dtype, (count, bytes))| (*dtype, *count, *bytes))
    }

    /// The number of weights, packed ones counted as what they hold; `None` if a packing is not recognised.
    #[must_use]
    pub fn parameters(&self) -> Option<u64> {
        self.weights.iter().try_fold(0_u64, |sum, weight| sum.checked_add(elements(weight.shape.as_deref()?)))
    }

    /// What names and shapes say about the architecture, with a remark on everything that was assumed.
    ///
    /// # Errors
    /// [`ErrorKind::MissingField`] if the names are not those of a language model.
    pub fn hyperparameters(&self) -> Result<(Hyperparameters, Vec<Warning>)> {
        infer::hyperparameters(&self.weights)
    }

    /// The model of this checkpoint: described by `description` (from its `config.json`), or by what names and
    /// shapes say; its tensors are the checkpoint's, with their names and bytes.
    ///
    /// # Errors
    /// [`ErrorKind::Contradiction`] naming the tensor whose shape excludes what the description says, otherwise as
    /// [`Checkpoint::hyperparameters`] and [`Model::from_file`].
    pub fn model(&self, description: Option<&Hyperparameters>) -> Result<Model> {
        let (hp, mut warnings) = match description {
            Some(hp) => (hp.clone(), Vec::new()),
            None => self.hyperparameters()?,
        };
        bounds::BLOCK_COUNT.check(hp.block_count.into())?;
        let extra = self.extra_layers(&hp)?;
        let mut tensors = Vec::with_capacity(self.weights.len());
        let mut unknown = 0_u64;
        for weight in &self.weights {
            unknown += u64::from(weight.shape.is_none());
            tensors.push(entry(&hp, weight, &extra));
        }
        if unknown > 0 {
            let message = format!(
                "{unknown} tensors are packed in a way that is not recognised: their bytes are exact, their weights are not counted"
            );
            warnings.push(Warning::new("unknown_packing", message));
        }
        let model = Model::from_file(hp, tensors, warnings)?;
        if description.is_some() {
            self.compare(&model)?;
        }
        Ok(model)
    }

    /// Layers beyond the description's: those of multi-token prediction are stored after the others.
    fn extra_layers(&self, hp: &Hyperparameters) -> Result<Vec<u32>> {
        const MARKS: [&str; 4] = ["eh_proj", "enorm", "hnorm", "shared_head"];
        let mut seen = alloc::vec![false; hp.block_count as usize];
        let mut extra: BTreeMap<u32, (bool, &str)> = BTreeMap::new();
        for weight in &self.weights {
            let Place { layer: Some(layer), stem, .. } = names::place(&weight.name) else { continue };
            match seen.get_mut(layer as usize) {
                Some(place) => *place = true,
                None => extra.entry(layer).or_insert((false, &weight.name)).0 |= MARKS.iter().any(|mark| stem.contains(mark)),
            }
        }
        if let Some((layer, (_, name))) = extra.iter().find(|(_, (marked, _))| !marked) {
            let message = format!("tensor `{name}` belongs to layer {layer}, the description has {} layers", hp.block_count);
            return Err(Error::new(ErrorKind::Contradiction, message).field(*name));
        }
        let main = hp.main_block_count() as usize;
        match seen.iter().take(main).position(|present| !present) {
            Some(lost) if seen.iter().any(|present| *present) => {
                let message =
                    format!("the checkpoint has no tensors of layer {lost}, the description has {} layers", hp.block_count);
                Err(Error::new(ErrorKind::Contradiction, message).field("block_count").help("give the headers of all files"))
            }
            _ => Ok(extra.into_keys().collect()),
        }
    }

    /// Compares the shapes that caches and embeddings follow from.
    fn compare(&self, model: &Model) -> Result<()> {
        let hp = model.hyperparameters();
        for weight in &self.weights {
            let Some([rows, row]) = weight.shape.as_deref().and_then(|shape| <[u64; 2]>::try_from(shape).ok()) else { continue };
            let place = names::place(&weight.name);
            let wrong = |found: u64, what: &str, expected: u64| {
                let message =
                    format!("tensor `{}` has the shape [{rows}, {row}]: {what} says {expected} instead of {found}", weight.name);
                Err(Error::new(ErrorKind::Contradiction, message).field(weight.name.clone()))
            };
            if place.group == Group::Text && place.stem == "embed_tokens.weight" && row != u64::from(hp.embedding_length) {
                return wrong(row, "embedding_length", hp.embedding_length.into());
            }
            let block = place.layer.and_then(|layer| model.blocks().get(layer as usize));
            if let Some(Attention::Heads(heads)) = block.filter(|block| block.recurrent.is_none()).map(|block| block.attention) {
                let keys = u64::from(heads.head_count_kv) * u64::from(heads.key_length);
                let values = u64::from(heads.head_count_kv) * u64::from(heads.value_length);
                match place.stem {
                    "self_attn.k_proj.weight" if rows != keys => return wrong(rows, "head_count_kv × key_length", keys),
                    "self_attn.v_proj.weight" if rows != values => return wrong(rows, "head_count_kv × value_length", values),
                    _ => {}
                }
            }
        }
        Ok(())
    }
}

fn elements(shape: &[u64]) -> u64 {
    shape.iter().fold(1_u64, |product, &n| product.saturating_mul(n))
}

fn entry(hp: &Hyperparameters, weight: &Weight, extra: &[u32]) -> Tensor {
    let place = names::place(&weight.name);
    let is_extra = place.layer.is_some_and(|layer| extra.contains(&layer));
    let (block, stem) = if is_extra { (None, weight.name.as_str()) } else { (place.layer, place.stem) };
    let stored = Stored { type_name: weight.type_name.clone(), bytes: weight.bytes };
    let shape = weight.shape.as_deref().map_or([0, 1, 1, 1], row_first);
    let group = if is_extra { Group::Mtp } else { place.group };
    Tensor { group, stored: Some(stored), ..Tensor::new(&hp.architecture, block, String::from(stem), shape) }
}

/// The shape with the row first; more than four dimensions are merged at the end.
fn row_first(shape: &[u64]) -> [u64; 4] {
    let mut out = [1_u64; 4];
    for (place, &n) in shape.iter().rev().enumerate() {
        if let Some(dimension) = out.get_mut(place.min(3)) {
            *dimension = dimension.saturating_mul(n);
        }
    }
    out
}
