//! Storage types of ggml tensors: block sizes, bytes per block, row and tensor sizes.
//!
//! Source: llama.cpp, `ggml/include/ggml.h` (`enum ggml_type`), `ggml/src/ggml-common.h` and
//! `ggml/src/ggml.c` (`type_traits`, `ggml_row_size`), ggml 0.26.0.

use alloc::format;

use crate::{
    error::{Error, ErrorKind, Result},
    units::{BitsPerWeight, Bytes},
};

macro_rules! ggml_types {
    ($($variant:ident = $id:literal, $name:literal, $block:literal, $bytes:literal;)*) => {
        /// A storage type of ggml, as numbered in GGUF files.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u8)]
        #[allow(non_camel_case_types, missing_docs)]
        #[non_exhaustive]
        pub enum GgmlType { $($variant = $id),* }

        impl GgmlType {
            /// Every type that exists in this version.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The type of a GGUF type id, or `None` for ids that were removed or never existed.
            #[must_use]
            pub const fn from_id(id: u32) -> Option<Self> {
                match id { $($id => Some(Self::$variant),)* _ => None }
            }

            /// ggml's own name, for example `q4_K`.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name),* }
            }

            /// Weights per block.
            #[must_use]
            pub const fn block_len(self) -> u64 {
                match self { $(Self::$variant => $block),* }
            }

            /// Bytes per block.
            #[must_use]
            pub const fn block_bytes(self) -> u64 {
                match self { $(Self::$variant => $bytes),* }
            }
        }
    };
}

ggml_types! {
    F32 = 0, "f32", 1, 4;
    F16 = 1, "f16", 1, 2;
    Q4_0 = 2, "q4_0", 32, 18;
    Q4_1 = 3, "q4_1", 32, 20;
    Q5_0 = 6, "q5_0", 32, 22;
    Q5_1 = 7, "q5_1", 32, 24;
    Q8_0 = 8, "q8_0", 32, 34;
    Q8_1 = 9, "q8_1", 32, 36;
    Q2_K = 10, "q2_K", 256, 84;
    Q3_K = 11, "q3_K", 256, 110;
    Q4_K = 12, "q4_K", 256, 144;
    Q5_K = 13, "q5_K", 256, 176;
    Q6_K = 14, "q6_K", 256, 210;
    Q8_K = 15, "q8_K", 256, 292;
    IQ2_XXS = 16, "iq2_xxs", 256, 66;
    IQ2_XS = 17, "iq2_xs", 256, 74;
    IQ3_XXS = 18, "iq3_xxs", 256, 98;
    IQ1_S = 19, "iq1_s", 256, 50;
    IQ4_NL = 20, "iq4_nl", 32, 18;
    IQ3_S = 21, "iq3_s", 256, 110;
    IQ2_S = 22, "iq2_s", 256, 82;
    IQ4_XS = 23, "iq4_xs", 256, 136;
    I8 = 24, "i8", 1, 1;
    I16 = 25, "i16", 1, 2;
    I32 = 26, "i32", 1, 4;
    I64 = 27, "i64", 1, 8;
    F64 = 28, "f64", 1, 8;
    IQ1_M = 29, "iq1_m", 256, 56;
    BF16 = 30, "bf16", 1, 2;
    TQ1_0 = 34, "tq1_0", 256, 54;
    TQ2_0 = 35, "tq2_0", 256, 66;
    MXFP4 = 39, "mxfp4", 32, 17;
    NVFP4 = 40, "nvfp4", 64, 36;
    Q1_0 = 41, "q1_0", 128, 18;
    Q2_0 = 42, "q2_0", 64, 18;
}

impl GgmlType {
    /// The type of a name in any letter case, for example `q8_0`, `Q4_K` or `BF16`.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|ty| ty.name().eq_ignore_ascii_case(name))
    }

    /// Whether weights are stored in blocks with a shared scale.
    #[must_use]
    pub const fn is_quantised(self) -> bool {
        self.block_len() > 1
    }

    /// Stored bits per weight, exactly.
    #[must_use]
    pub fn bits_per_weight(self) -> BitsPerWeight {
        BitsPerWeight::new(self.block_bytes() * 8, self.block_len()).unwrap_or(BitsPerWeight::whole(32))
    }

    /// The bytes of a row of `elements` weights: bytes per block × elements ÷ weights per block.
    ///
    /// # Errors
    /// [`ErrorKind::Contradiction`] if the row is no whole number of blocks,
    /// [`ErrorKind::Overflow`] above [`Bytes::MAX`].
    ///
    /// ```
    /// use llm_vram_core::quant::GgmlType;
    /// assert_eq!(GgmlType::Q4_K.row_bytes(4096)?.get(), 2304);
    /// assert!(GgmlType::Q4_K.row_bytes(100).is_err());
    /// # Ok::<(), llm_vram_core::Error>(())
    /// ```
    pub fn row_bytes(self, elements: u64) -> Result<Bytes> {
        if !elements.is_multiple_of(self.block_len()) {
            return Err(Error::new(
                ErrorKind::Contradiction,
                format!("a row of {elements} weights is no whole number of {} blocks of {}", self.name(), self.block_len()),
            )
            .help("this tensor cannot be stored in that type"));
        }
        Bytes::from_wide(u128::from(elements / self.block_len()) * u128::from(self.block_bytes()))
    }

    /// The bytes of a tensor whose first dimension is the row: row bytes × rows, without padding.
    ///
    /// # Errors
    /// As [`GgmlType::row_bytes`].
    pub fn tensor_bytes(self, shape: [u64; 4]) -> Result<Bytes> {
        let row = self.row_bytes(shape[0])?;
        let rows = shape[1..].iter().try_fold(1_u128, |product, &n| product.checked_mul(u128::from(n)));
        Bytes::from_wide(rows.and_then(|rows| rows.checked_mul(u128::from(row.get()))).unwrap_or(u128::MAX))
    }
}
