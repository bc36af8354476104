//! Every weight format by name, and the nominal grid.

use alloc::vec::Vec;

use super::{
    CheckpointFormat, FileType, Fp8Scales, WeightFormat,
    mlx::{MixedRecipe, MlxMode, MlxPrecision, MlxQuantisation},
};
use crate::{
    error::Result,
    units::{BitsPerWeight, Bytes},
};

/// Bits that MLX's affine mode has.
const MLX_BITS: [u32; 6] = [8, 6, 5, 4, 3, 2];
/// Usual averages of EXL2 and EXL3 releases, in quarters of a bit.
const EXL_QUARTER_BITS: [u64; 6] = [32, 24, 20, 16, 12, 9];

impl WeightFormat {
    /// Every format in its usual forms: what a list of formats shows and what a misspelt name is compared with. Group
    /// sizes and averages beside these parse too.
    ///
    /// ```
    /// use llm_vram_core::quant::WeightFormat;
    /// for format in WeightFormat::all() {
    ///     assert_eq!(WeightFormat::parse(&format.to_string())?.to_string(), format.to_string());
    /// }
    /// # Ok::<(), llm_vram_core::Error>(())
    /// ```
    #[must_use]
    pub fn all() -> Vec<Self> {
        let mut formats: Vec<Self> = FileType::ALL.iter().map(|file_type| Self::gguf(*file_type)).collect();
        let scales = [Fp8Scales::Tensor, Fp8Scales::Block128].map(CheckpointFormat::Fp8);
        let usual = CheckpointFormat::USUAL.iter().copied().chain(scales).chain([CheckpointFormat::Nf4 { double_quant: true }]);
        formats.extend(usual.map(Self::Checkpoint));
        let affine = MLX_BITS.into_iter().filter_map(|bits| MlxPrecision::new(MlxMode::Affine, bits, 64).ok());
        let others = MlxMode::ALL.into_iter().filter(|mode| *mode != MlxMode::Affine).map(MlxMode::default_precision);
        formats.extend(affine.chain(others).map(|precision| Self::Mlx(MlxQuantisation::Uniform(precision))));
        formats.extend(MixedRecipe::ALL.into_iter().map(|recipe| Self::Mlx(MlxQuantisation::Mixed(recipe, 64))));
        for make in [Self::Exl3 as fn(BitsPerWeight) -> Self, Self::Exl2] {
            formats.extend(EXL_QUARTER_BITS.into_iter().filter_map(|bits| BitsPerWeight::new(bits, 4).ok()).map(make));
        }
        formats
    }
}

/// The nominal sizes of `parameters` weights in [`WeightFormat::nine`]: parameters × bits ÷ 8.
///
/// Real files are larger: mixtures keep some matrices at more bits, and embeddings, norms and scales count too.
///
/// # Errors
/// [`ErrorKind::Overflow`](crate::ErrorKind::Overflow) above [`Bytes::MAX`].
///
/// ```
/// use llm_vram_core::{ByteUnit, quant::nominal_grid};
/// let sizes = nominal_grid(70_000_000_000)?.map(|(format, bytes)| format!("{format} {}", bytes.display(ByteUnit::GB)));
/// assert_eq!(sizes[0], "F16 140.0 GB");
/// assert_eq!(sizes[6], "Q4_K_M 39.38 GB");
/// # Ok::<(), llm_vram_core::Error>(())
/// ```
pub fn nominal_grid(parameters: u64) -> Result<[(WeightFormat, Bytes); 9]> {
    let mut grid = WeightFormat::nine().map(|format| (format, Bytes::ZERO));
    for (format, bytes) in &mut grid {
        // Each of the nine has nominal bits.
        let bits = format.nominal_bits().unwrap_or(BitsPerWeight::whole(16));
        *bytes = bits.bytes_for(parameters)?;
    }
    Ok(grid)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use alloc::{collections::BTreeSet, string::ToString};

    use super::*;

    #[test]
    fn names_are_unique_and_have_a_purpose() {
        let formats = WeightFormat::all();
        let names: BTreeSet<_> = formats.iter().map(ToString::to_string).collect();
        assert_eq!(names.len(), formats.len());
        assert!(formats.iter().all(|format| !format.purpose().is_empty()));
    }

    /// The figures that the six-chapter sum gives for 70 billion parameters.
    #[test]
    fn the_grid_of_70_billion_parameters() {
        let megabytes = nominal_grid(70_000_000_000).unwrap().map(|(_, bytes)| bytes.get() / 1_000_000);
        assert_eq!(megabytes, [140_000, 70_000, 70_000, 74_375, 57_421, 48_125, 39_375, 30_625, 22_968]);
        assert!(nominal_grid(u64::MAX).is_err());
    }
}
