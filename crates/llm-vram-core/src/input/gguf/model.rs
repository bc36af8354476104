//! From a header to a [`Model`].

use alloc::{borrow::Cow, format, string::String, vec::Vec};

use super::{
    architectures,
    facts::block_and_stem,
    header::{Header, TensorInfo},
    metadata, shapes,
    value::Value,
};
use crate::{
    error::{Error, ErrorKind, Result},
    model::{Attention, Group, Model, Stored, Tensor},
};

/// What a GGUF file is, as `general.type` says.
const TYPE: &str = "general.type";

impl Header<'_> {
    /// The model that the file holds, with the file's own tensors.
    ///
    /// An architecture without rules gives an upper bound of its cache and the warning `unknown_architecture`.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`] for files that hold no language model (projectors, adapters, importance
    /// matrices), [`ErrorKind::MissingField`] for a vocabulary alone or a single part of a split file,
    /// [`ErrorKind::Contradiction`] naming the tensor whose shape excludes what the metadata says, otherwise as
    /// [`Header::hyperparameters`] and [`Model::from_file`].
    pub fn model(&self) -> Result<Model> {
        self.model_and_projectors(&[])
    }

    /// Like [`Header::model`], with the vision or audio towers of the given `mmproj` files.
    ///
    /// # Errors
    /// As [`Header::model`], and [`ErrorKind::Unsupported`] if one of the files is no projector.
    pub fn model_and_projectors(&self, projectors: &[Header<'_>]) -> Result<Model> {
        self.refuse_other_contents()?;
        if let Some(split) = self.split()?.filter(|_| self.shards_joined == 1) {
            return Err(split.alone());
        }
        if self.tensors().is_empty() {
            return Err(Error::new(ErrorKind::MissingField, "the file holds no tensors, only metadata and a vocabulary")
                .field("tensors")
                .help("give the model's own file"));
        }
        let (mut hp, mut warnings) = metadata::read(self)?;
        warnings.extend_from_slice(self.warnings());
        if !architectures::is_known(&hp.architecture) {
            warnings.push(metadata::conservative(&mut hp));
        }
        let mut tensors: Vec<Tensor> = self.tensors().iter().map(|info| entry(&hp.architecture, info, Group::Text)).collect();
        for projector in projectors {
            if !projector.is_projector() {
                return Err(Error::new(ErrorKind::Unsupported, "the file is no vision or audio projector")
                    .field(TYPE)
                    .help("give a file named mmproj-..."));
            }
            tensors.extend(projector.tensors().iter().map(|info| entry("clip", info, Group::Tower)));
        }
        let architecture = hp.architecture.clone();
        let mut shape_warnings = Vec::new();
        let model = Model::from_file(hp, tensors, warnings)?;
        shapes::check(self, model.hyperparameters(), model.blocks(), &mut shape_warnings)?;
        self.check_heads(&architecture, &model)?;
        Ok(model.with_warnings(shape_warnings))
    }

    /// Whether the file holds a vision or audio tower with its projector instead of a language model.
    #[must_use]
    pub fn is_projector(&self) -> bool {
        self.contents() == "mmproj" || self.architecture() == Some("clip")
    }

    fn contents(&self) -> &str {
        self.get(TYPE).and_then(Value::as_str).unwrap_or("model")
    }

    fn refuse_other_contents(&self) -> Result<()> {
        let (what, help) = match self.contents() {
            _ if self.is_projector() => ("a vision or audio projector", "give it together with its language model"),
            "adapter" => ("an adapter", "give the model that it was made for"),
            "imatrix" => ("an importance matrix", "give the model that it was made for"),
            "dataset" => ("a data set", "give a model"),
            // Converters have written other words for models; what counts is whether the keys are there.
            _ => return Ok(()),
        };
        Err(Error::new(ErrorKind::Unsupported, format!("the file holds {what}, no language model")).field(TYPE).help(help))
    }

    /// Blocks with key tensors need heads: without the keys that give them, a cache of 0 bytes would follow.
    fn check_heads(&self, architecture: &str, model: &Model) -> Result<()> {
        let heads = model.blocks().iter().any(|block| block.attention != Attention::None);
        let keys = |info: &&TensorInfo<'_>| {
            block_and_stem(info.name).is_some_and(|(_, stem)| matches!(stem, "attn_k.weight" | "attn_kv_a_mqa.weight"))
        };
        match self.tensors().iter().find(keys) {
            Some(tensor) if !heads => {
                let key = format!("{architecture}.attention.head_count");
                let message = format!("tensor `{}` needs attention heads, the metadata has none in `{key}`", tensor.name);
                Err(Error::new(ErrorKind::Contradiction, message).field(tensor.name))
            }
            _ => Ok(()),
        }
    }
}

fn entry(architecture: &str, info: &TensorInfo<'_>, group: Group) -> Tensor {
    let (block, stem) = match block_and_stem(info.name) {
        Some((block, stem)) if group == Group::Text => (Some(block), stem),
        _ => (None, info.name),
    };
    let stored = Stored { type_name: Cow::Borrowed(info.ty.name()), bytes: info.bytes };
    Tensor { group, stored: Some(stored), ..Tensor::new(architecture, block, String::from(stem), info.shape) }
}
