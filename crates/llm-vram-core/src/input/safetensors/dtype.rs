//! Element types of safetensors files.

macro_rules! dtypes {
    ($($variant:ident = $bits:literal;)*) => {
        /// An element type, named as in the header.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[allow(non_camel_case_types, missing_docs, clippy::upper_case_acronyms)]
        #[non_exhaustive]
        pub enum Dtype { $($variant),* }

        impl Dtype {
            /// Every type of this version.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The name in the header, for example `BF16`.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => stringify!($variant)),* }
            }

            /// Bits of an element.
            #[must_use]
            pub const fn bits(self) -> u32 {
                match self { $(Self::$variant => $bits),* }
            }
        }
    };
}

dtypes! {
    BOOL = 8;
    F4 = 4;
    F6_E2M3 = 6;
    F6_E3M2 = 6;
    U8 = 8;
    I8 = 8;
    F8_E5M2 = 8;
    F8_E4M3 = 8;
    F8_E8M0 = 8;
    F8_E4M3FNUZ = 8;
    F8_E5M2FNUZ = 8;
    I16 = 16;
    U16 = 16;
    F16 = 16;
    BF16 = 16;
    I32 = 32;
    U32 = 32;
    F32 = 32;
    C64 = 64;
    F64 = 64;
    I64 = 64;
    U64 = 64;
}

impl Dtype {
    /// The type of a name in the header, or `None` if there is none of that name.
    ///
    /// ```
    /// use llm_vram_core::input::safetensors::Dtype;
    /// assert_eq!(Dtype::from_name("F8_E4M3").map(Dtype::bits), Some(8));
    /// ```
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|dtype| dtype.name() == name)
    }

    /// Whether elements are numbers with a fraction, as weights are.
    #[must_use]
    pub const fn is_float(self) -> bool {
        !matches!(self, Self::BOOL | Self::U8 | Self::I8 | Self::I16 | Self::U16 | Self::I32 | Self::U32 | Self::I64 | Self::U64)
    }

    /// Whether elements are 8-bit floating-point numbers.
    #[must_use]
    pub const fn is_float8(self) -> bool {
        self.is_float() && self.bits() == 8
    }
}
