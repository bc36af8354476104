//! File types: the named mixtures that llama-quantize writes.

use alloc::{format, string::String};
use core::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::GgmlType;
use crate::error::{Error, ErrorKind};

macro_rules! file_types {
    ($($variant:ident = $id:literal, $default:ident, $name:literal;)*) => {
        /// A named mixture of storage types, as llama-quantize and the names of GGUF files spell it.
        ///
        /// Source: llama.cpp, `include/llama.h` (`enum llama_ftype`) and `src/llama-quant.cpp`
        /// (`llama_ftype_get_default_type`), llama-cpp-sys-2 0.1.161. NVFP4 is a file type too, but the quantiser does
        /// not write it.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u8)]
        #[allow(non_camel_case_types, missing_docs)]
        pub enum FileType { $($variant = $id),* }

        impl FileType {
            /// Every file type, from the largest to the smallest kinds.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The file type of a number in a GGUF file's `general.file_type`.
            #[must_use]
            pub const fn from_id(id: u32) -> Option<Self> {
                match id { $($id => Some(Self::$variant),)* _ => None }
            }

            /// Its name, for example `Q4_K_M`.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name),* }
            }

            /// The type that a tensor gets where no rule says otherwise.
            #[must_use]
            pub const fn default_type(self) -> GgmlType {
                match self { $(Self::$variant => GgmlType::$default),* }
            }
        }
    };
}

file_types! {
    F32 = 0, F32, "F32";
    BF16 = 32, BF16, "BF16";
    F16 = 1, F16, "F16";
    Q8_0 = 7, Q8_0, "Q8_0";
    Q6_K = 18, Q6_K, "Q6_K";
    Q5_K_M = 17, Q5_K, "Q5_K_M";
    Q5_K_S = 16, Q5_K, "Q5_K_S";
    Q5_1 = 9, Q5_1, "Q5_1";
    Q5_0 = 8, Q5_0, "Q5_0";
    Q4_K_M = 15, Q4_K, "Q4_K_M";
    Q4_K_S = 14, Q4_K, "Q4_K_S";
    Q4_1 = 3, Q4_1, "Q4_1";
    Q4_0 = 2, Q4_0, "Q4_0";
    IQ4_NL = 25, IQ4_NL, "IQ4_NL";
    IQ4_XS = 30, IQ4_XS, "IQ4_XS";
    MXFP4_MOE = 38, MXFP4, "MXFP4_MOE";
    Q3_K_L = 13, Q3_K, "Q3_K_L";
    Q3_K_M = 12, Q3_K, "Q3_K_M";
    Q3_K_S = 11, Q3_K, "Q3_K_S";
    IQ3_M = 27, IQ3_S, "IQ3_M";
    IQ3_S = 26, IQ3_S, "IQ3_S";
    IQ3_XS = 22, IQ3_S, "IQ3_XS";
    IQ3_XXS = 23, IQ3_XXS, "IQ3_XXS";
    Q2_K = 10, Q2_K, "Q2_K";
    Q2_K_S = 21, Q2_K, "Q2_K_S";
    IQ2_M = 29, IQ2_S, "IQ2_M";
    IQ2_S = 28, IQ2_XS, "IQ2_S";
    IQ2_XS = 20, IQ2_XS, "IQ2_XS";
    IQ2_XXS = 19, IQ2_XXS, "IQ2_XXS";
    Q2_0 = 41, Q2_0, "Q2_0";
    TQ2_0 = 37, TQ2_0, "TQ2_0";
    TQ1_0 = 36, TQ1_0, "TQ1_0";
    IQ1_M = 31, IQ1_M, "IQ1_M";
    IQ1_S = 24, IQ1_S, "IQ1_S";
    Q1_0 = 40, Q1_0, "Q1_0";
}

/// Further spellings: llama-quantize's short forms, and common names of the same thing.
const ALIASES: &[(&str, FileType)] = &[
    ("Q3_K", FileType::Q3_K_M),
    ("Q4_K", FileType::Q4_K_M),
    ("Q5_K", FileType::Q5_K_M),
    ("MXFP4", FileType::MXFP4_MOE),
    ("FP16", FileType::F16),
    ("FP32", FileType::F32),
];

impl FileType {
    /// The file type of a name in any letter case, short forms such as `q4_k` included.
    ///
    /// ```
    /// use llm_vram_core::quant::FileType;
    /// assert_eq!(FileType::from_name("q4_k_m"), Some(FileType::Q4_K_M));
    /// assert_eq!(FileType::from_name("Q5_K"), Some(FileType::Q5_K_M));
    /// assert_eq!(FileType::from_name("Q4_K_XL"), None);
    /// ```
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        let exact = Self::ALL.iter().copied().find(|file_type| file_type.name().eq_ignore_ascii_case(name));
        exact.or_else(|| ALIASES.iter().find(|(alias, _)| alias.eq_ignore_ascii_case(name)).map(|&(_, file_type)| file_type))
    }

    /// The number in a GGUF file's `general.file_type`.
    #[must_use]
    pub const fn id(self) -> u32 {
        self as u32
    }
}

impl fmt::Display for FileType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for FileType {
    type Err = Error;

    /// Reads a name as [`FileType::from_name`] does.
    fn from_str(name: &str) -> Result<Self, Error> {
        Self::from_name(name).ok_or_else(|| {
            let mut names = String::new();
            for file_type in Self::ALL {
                names.push_str(if names.is_empty() { "" } else { ", " });
                names.push_str(file_type.name());
            }
            Error::new(ErrorKind::UnknownQuant, format!("no file type is called `{name}`"))
                .field("quant")
                .help(format!("the file types are {names}"))
        })
    }
}

impl Serialize for FileType {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl<'de> Deserialize<'de> for FileType {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = alloc::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        name.parse().map_err(de::Error::custom)
    }
}
