//! The index of a checkpoint in several files.

use alloc::{borrow::Cow, collections::BTreeMap, format, string::String, vec, vec::Vec};

use super::{
    checkpoint::Checkpoint,
    header::{Header, TensorInfo},
    json, names,
};
use crate::{
    error::{Error, ErrorKind, Result},
    input::limits,
    model::{Hyperparameters, Model, Origin, Stored, Tensor, Warning},
    units::Bytes,
};

/// A `model.safetensors.index.json`: which tensor lies in which file.
#[derive(Debug, Clone)]
pub struct Index {
    total_bytes: Option<Bytes>,
    files: Vec<String>,
    /// Each tensor's file, as its place in `files`.
    tensors: BTreeMap<String, u32>,
}

impl Index {
    /// Reads the text of an index.
    ///
    /// # Errors
    /// [`ErrorKind::Malformed`] or [`ErrorKind::Truncated`] for text that is no index, [`ErrorKind::MissingField`]
    /// without `weight_map`, [`ErrorKind::LimitExceeded`] beyond the limits.
    ///
    /// ```
    /// use llm_vram_core::input::safetensors::Index;
    /// let index = Index::read(r#"{"metadata": {"total_size": 64}, "weight_map": {"a.weight": "model-1.safetensors"}}"#)?;
    /// assert_eq!(index.files(), ["model-1.safetensors"]);
    /// # Ok::<(), llm_vram_core::Error>(())
    /// ```
    pub fn read(text: &str) -> Result<Self> {
        limits::check(text.len() as u64, limits::SAFETENSORS_INDEX_BYTES, "length of the index")?;
        let mut total = None;
        let mut entries: Option<Vec<(Cow<'_, str>, Cow<'_, str>)>> = None;
        json::object(text.trim_start_matches('\u{feff}'), "the safetensors index", &mut |key, slot| match &*key {
            "metadata" => slot.object(&mut |key, slot| {
                if key == "total_size" {
                    total = Some(slot.number()?);
                }
                Ok(())
            }),
            "weight_map" => {
                let map = entries.insert(Vec::new());
                slot.object(&mut |tensor, slot| {
                    map.push((tensor, slot.text()?));
                    Ok(())
                })
            }
            _ => slot.skip(),
        })?;
        let entries = entries.ok_or_else(|| {
            Error::new(ErrorKind::MissingField, "the index has no `weight_map`")
                .field("weight_map")
                .help("give a model.safetensors.index.json")
        })?;
        let files: Vec<String> = {
            let mut names: Vec<&str> = entries.iter().map(|(_, file)| &**file).collect();
            names.sort_unstable();
            names.dedup();
            limits::check(names.len() as u64, limits::SHARDS, "number of files").map_err(|error| error.field("weight_map"))?;
            names.into_iter().map(String::from).collect()
        };
        let place = |file: &str| files.binary_search_by(|name| name.as_str().cmp(file)).unwrap_or(0);
        let tensors = entries
            .iter()
            .map(|(tensor, file)| (String::from(&**tensor), u32::try_from(place(file)).unwrap_or(u32::MAX)))
            .collect();
        let total_bytes = total.map(Bytes::new).transpose().map_err(|error| error.field("metadata.total_size"))?;
        Ok(Self { total_bytes, files, tensors })
    }

    /// Bytes of all tensors, as the index says.
    #[must_use]
    pub const fn total_bytes(&self) -> Option<Bytes> {
        self.total_bytes
    }

    /// The names of the files.
    #[must_use]
    pub fn files(&self) -> &[String] {
        &self.files
    }

    /// The names of the tensors.
    pub fn tensors(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }

    /// The model of a description (from the `config.json` beside the index), without the files' headers.
    ///
    /// If the index's total is what the description's parameters take at 2 or 4 bytes each, the tensors are the
    /// checkpoint's; otherwise they are the architecture's and the warning `total_size_differs` says so.
    ///
    /// # Errors
    /// [`ErrorKind::Contradiction`] if the names exclude the description, otherwise as [`Model::new`].
    pub fn model(&self, description: &Hyperparameters) -> Result<Model> {
        let mut hp = description.clone();
        let deepest = self.tensors().filter_map(|name| Some((names::place(name).layer?, name))).max();
        match deepest {
            Some((layer, name)) if layer < hp.main_block_count().saturating_sub(1) => {
                let message =
                    format!("`{name}` is of the last layer of the index, the description has {} layers", hp.main_block_count());
                return Err(Error::new(ErrorKind::Contradiction, message).field(name));
            }
            _ => {}
        }
        hp.facts.tied = !self.tensors().any(|name| names::place(name).stem == "lm_head.weight");
        let derived = Model::new(hp)?;
        let Some(total) = self.total_bytes else { return Ok(derived) };
        let parameters = u128::from(derived.parameters().checkpoint);
        let stored_as =
            [("BF16", 2_u64), ("F32", 4)].into_iter().find(|(_, size)| parameters * u128::from(*size) == total.get().into());
        let Some((type_name, size)) = stored_as else {
            let message = format!(
                "the index says {} bytes, the description's {parameters} parameters take other sizes at 2 or 4 bytes each: \
                 give the files' headers for exact weights",
                total.get()
            );
            return Ok(derived.with_warnings(vec![Warning::new("total_size_differs", message)]));
        };
        let mut tensors = Vec::with_capacity(derived.tensors().len());
        for tensor in derived.tensors().iter().filter(|tensor| tensor.origin == Origin::Checkpoint) {
            let bytes = Bytes::new(tensor.elements())?.checked_mul(size)?;
            tensors.push(Tensor { stored: Some(Stored { type_name: Cow::Borrowed(type_name), bytes }), ..tensor.clone() });
        }
        Model::from_file(derived.hyperparameters().clone(), tensors, derived.warnings().to_vec())
    }

    /// The checkpoint that the files with the given names and headers make up.
    ///
    /// # Errors
    /// [`ErrorKind::MissingField`] naming files that are missing, [`ErrorKind::Contradiction`] if a tensor is not
    /// where the index says or the sizes do not add up to the index's total.
    pub fn checkpoint(&self, files: &[(&str, Header<'_>)]) -> Result<Checkpoint> {
        let absent: Vec<&str> =
            self.files.iter().map(String::as_str).filter(|file| !files.iter().any(|(name, _)| name == file)).collect();
        if let Some(first) = absent.first() {
            let message = format!("{} of {} files are missing, for example `{first}`", absent.len(), self.files.len());
            return Err(Error::new(ErrorKind::MissingField, message).field(*first).help("give the header of every file"));
        }
        let mut found = vec![];
        for (name, header) in files {
            let Some(place) = self.files.iter().position(|file| file == name) else {
                let message = format!("file `{name}` is not in the index");
                return Err(Error::new(ErrorKind::Contradiction, message).field(*name));
            };
            for tensor in header.tensors() {
                if self.tensors.get(&*tensor.name).is_none_or(|&said| said as usize != place) {
                    let message = format!("tensor `{}` lies in `{name}`, the index says otherwise", tensor.name);
                    return Err(Error::new(ErrorKind::Contradiction, message).field(tensor.name.clone()));
                }
                found.push(tensor);
            }
        }
        if found.len() != self.tensors.len() {
            let present: Vec<&str> = sorted(&found);
            let lost = self.tensors().find(|tensor| present.binary_search(tensor).is_err()).unwrap_or_default();
            let message =
                format!("the index names {} tensors, the files hold {}: `{lost}` differs", self.tensors.len(), found.len());
            return Err(Error::new(ErrorKind::Contradiction, message).field(lost));
        }
        let checkpoint = Checkpoint::new(found.into_iter())?;
        match self.total_bytes {
            Some(total) if total != checkpoint.total_bytes() => Err(Error::new(
                ErrorKind::Contradiction,
                format!("the files hold {} bytes of tensors, the index says `{}`", checkpoint.total_bytes().get(), total.get()),
            )
            .field("metadata.total_size")),
            _ => Ok(checkpoint),
        }
    }
}

fn sorted<'t>(tensors: &[&'t TensorInfo<'_>]) -> Vec<&'t str> {
    let mut names: Vec<&str> = tensors.iter().map(|tensor| &*tensor.name).collect();
    names.sort_unstable();
    names
}
