//! How each tensor of a model is stored in a weight format that llama.cpp loads.

use alloc::{format, rc::Rc, vec::Vec};

use super::weights::StoredAs;
use crate::{
    engine::Scene,
    error::{Error, ErrorKind, Result},
    model::{Model, Tensor},
    quant::{FileType, GgmlType, QuantTarget, Recipe, WeightFormat},
};

/// Type and bytes of every tensor of the scene's model in its format, recalled where they were worked out before.
///
/// # Errors
/// As [`of`].
pub fn in_scene(scene: &Scene<'_>) -> Result<Rc<[StoredAs]>> {
    let work_out = || of(scene.model, scene.format);
    match scene.memo {
        Some(memo) => memo.stored(scene.model, scene.format, work_out),
        None => work_out().map(Rc::from),
    }
}

/// Type and bytes of every tensor, in the order of [`Model::tensors`].
///
/// # Errors
/// [`ErrorKind::Unsupported`] for a format that is no GGUF file, [`ErrorKind::EngineRefuses`] where the quantiser or
/// the type itself cannot hold a tensor.
pub fn of(model: &Model, format: &WeightFormat) -> Result<Vec<StoredAs>> {
    match *format {
        WeightFormat::Stored => model.tensors().iter().map(from_file).collect(),
        WeightFormat::Plain(ty) => quantised(model, unquantised(ty)?),
        WeightFormat::Gguf(target) => quantised(model, target),
        other => Err(Error::new(ErrorKind::Unsupported, format!("llama.cpp does not load `{other}` weights"))
            .field("quant")
            .help("name a GGUF quantisation such as `Q4_K_M`")),
    }
}

fn quantised(model: &Model, target: QuantTarget) -> Result<Vec<StoredAs>> {
    Recipe::new(model).tensors(target).map(|item| item.map(|(choice, bytes)| StoredAs { ty: choice.ty, bytes })).collect()
}

/// The file that a converter makes of a checkpoint in one floating-point type.
fn unquantised(ty: GgmlType) -> Result<QuantTarget> {
    let file_type = match ty {
        GgmlType::F32 => FileType::F32,
        GgmlType::F16 => FileType::F16,
        GgmlType::BF16 => FileType::BF16,
        _ => {
            return Err(Error::new(ErrorKind::Unsupported, format!("`{}` alone is no file type of llama.cpp", ty.name()))
                .field("quant")
                .help("name a GGUF file type such as `Q8_0`"));
        }
    };
    Ok(QuantTarget::new(file_type).source(ty))
}

/// The error for a tensor whose storage was not given.
pub(super) fn missing(tensor: &Tensor) -> Result<StoredAs> {
    Err(Error::new(ErrorKind::MissingField, format!("no storage was given for tensor `{}`", tensor.name())).field("tensors"))
}

fn from_file(tensor: &Tensor) -> Result<StoredAs> {
    let Some(stored) = &tensor.stored else {
        return Err(Error::new(
            ErrorKind::Unsupported,
            format!("tensor `{}` is in no file: no type is known for it", tensor.name()),
        )
        .field("quant")
        .help("name a quantisation such as `Q4_K_M`"));
    };
    let ty = GgmlType::from_name(&stored.type_name).ok_or_else(|| {
        Error::new(
            ErrorKind::Unsupported,
            format!("llama.cpp has no type `{}`, in which tensor `{}` is stored", stored.type_name, tensor.name()),
        )
        .field("quant")
        .help("convert the model to GGUF, or name a quantisation such as `Q4_K_M`")
    })?;
    Ok(StoredAs { ty, bytes: stored.bytes })
}
