//! The plain records that the catalog consists of.
//!
//! Records know no type of the calculator and own nothing: everything is `'static` and in the
//! binary's read-only part. A fact that is not known is `None`, a fact that is known within limits is
//! a [`Fact::Range`]; neither is ever a guess in disguise.

/// A fact that is known exactly, or within limits.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub enum Fact<T> {
    /// One value.
    Exact(T),
    /// A value between two others, both included.
    Range(T, T),
}

impl<T: Copy> Fact<T> {
    /// The value, or the lower end of the range.
    #[must_use]
    pub const fn low(&self) -> T {
        match *self {
            Self::Exact(value) | Self::Range(value, _) => value,
        }
    }

    /// The value, or the upper end of the range.
    #[must_use]
    pub const fn high(&self) -> T {
        match *self {
            Self::Exact(value) | Self::Range(_, value) => value,
        }
    }

    /// The value, unless only a range is known.
    #[must_use]
    pub const fn exact(&self) -> Option<T> {
        match *self {
            Self::Exact(value) => Some(value),
            Self::Range(..) => None,
        }
    }
}

/// Where facts come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Source {
    /// A public address.
    pub url: &'static str,
    /// The day on which it was read, `YYYY-MM-DD`.
    pub date: &'static str,
    /// Which fields of the record it covers.
    pub covers: &'static [&'static str],
}

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $word:literal,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum $name {
            $($(#[$variant_doc])* $variant,)*
        }

        impl $name {
            /// Every value, in the order of their declaration.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The word that files, JSON and tables use.
            #[must_use]
            pub const fn word(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)*
                }
            }
        }
    };
}

words! {
    /// How large a machine a model asks for, at about 4.5 bits per weight.
    ModelClass {
        /// Up to 9 billion parameters: phones, laptops, 8 GB cards.
        Edge = "edge",
        /// Up to 36 billion parameters: one 24 GB card.
        Workstation = "workstation",
        /// Up to 130 billion parameters: one 80 GB card, 96 to 128 GB of unified memory.
        Serious = "serious",
        /// More: several datacentre cards or 256 GB of unified memory and above.
        MultiGpu = "multi-gpu",
    }
}

words! {
    /// How the parameter count that the architecture gives compares with the stated one.
    ParameterCheck {
        /// They are equal.
        Exact = "exact",
        /// They differ by the stated difference, for the stated reason.
        Explained = "explained",
    }
}

words! {
    /// What kind of device a record describes.
    HardwareKind {
        /// A card for desktop computers.
        Discrete = "discrete",
        /// A graphics processor of a laptop.
        Laptop = "laptop",
        /// A card for workstations.
        Workstation = "workstation",
        /// A card or module for servers.
        Datacenter = "datacenter",
        /// A chip that shares its memory with the processor.
        Unified = "unified",
        /// A processor alone, with memory of any size.
        Cpu = "cpu",
    }
}

words! {
    /// The group that a device is listed in.
    HardwareClass {
        /// GeForce and TITAN cards.
        ConsumerNvidia = "consumer-nvidia",
        /// Apple's own chips.
        AppleSilicon = "apple-silicon",
        /// Cards for datacentres and workstations, of any vendor but AMD and Intel.
        Datacenter = "datacenter-workstation",
        /// AMD.
        Amd = "amd",
        /// Intel.
        Intel = "intel",
        /// Processors without a graphics device.
        Cpu = "cpu",
    }
}

words! {
    /// What a weight format does to answers, in a word.
    Quality {
        /// What others are compared with.
        Reference = "reference",
        /// Not told apart from the reference in use.
        NearLossless = "near-lossless",
        /// Measurable, not noticeable.
        VerySmallLoss = "very small loss",
        /// Small; the usual choice.
        SmallLoss = "small loss",
        /// The least that is advisable for serious use.
        ProductionFloor = "production floor",
        /// Noticeable in answers.
        VisibleLoss = "visible loss",
        /// Only where nothing else fits.
        HeavyLoss = "heavy loss",
    }
}

/// A value that is the same in every block, or given block by block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PerBlock {
    /// The same in every block.
    Uniform(u32),
    /// One value for each block.
    Each(&'static [u32]),
}

/// Which blocks attend within a sliding window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WindowPattern {
    /// Block `i` has a window iff `i % period < period - 1`.
    Period(u32),
    /// One flag for each block.
    Each(&'static [bool]),
}

words! {
    /// Which extra tensors multi-token-prediction blocks carry.
    MtpExtra {
        /// None.
        None = "none",
        /// The norm of their own output head.
        HeadNorm = "head_norm",
        /// Their own embedding table, output head and norm.
        OwnTables = "own_tables",
    }
}

/// Which optional tensors a checkpoint has; the fields are those of the calculator's `Facts`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct TensorFacts {
    pub tied: bool,
    pub qkv_bias: bool,
    pub o_bias: bool,
    pub ffn_bias: bool,
    pub fused_qkv: bool,
    pub fused_gate_up_exps: bool,
    pub exp_probs_b: bool,
    pub rope_freqs: bool,
    pub rope_factors: bool,
    pub qk_norm: bool,
    pub conv_bias: bool,
    pub ssm_norm: bool,
    pub output_bias: bool,
    pub cls_out: u32,
    pub layer_scale: bool,
    pub v_on_full: bool,
    pub kv_on_shared: bool,
    pub fused_ssm_in: bool,
    pub attn_norm_2: bool,
    pub moe_layers: Option<(u32, u32)>,
    pub mtp_extra: MtpExtra,
}

impl TensorFacts {
    /// What holds where a record says nothing.
    pub const EMPTY: Self = Self {
        tied: false,
        qkv_bias: false,
        o_bias: false,
        ffn_bias: false,
        fused_qkv: false,
        fused_gate_up_exps: false,
        exp_probs_b: false,
        rope_freqs: false,
        rope_factors: false,
        qk_norm: false,
        conv_bias: false,
        ssm_norm: false,
        output_bias: false,
        cls_out: 0,
        layer_scale: false,
        v_on_full: true,
        kv_on_shared: false,
        fused_ssm_in: false,
        attn_norm_2: false,
        moe_layers: None,
        mtp_extra: MtpExtra::None,
    };
}

/// An architecture in GGUF's vocabulary; the fields are those of the calculator's `Hyperparameters`.
#[derive(Debug, Clone, Copy, PartialEq)]
#[allow(missing_docs)]
pub struct Architecture {
    pub architecture: &'static str,
    pub model_type: &'static str,
    pub block_count: u32,
    pub nextn_predict_layers: u32,
    pub embedding_length: u32,
    pub vocab_size: u32,
    pub context_length: u64,
    pub feed_forward_length: PerBlock,
    pub head_count: PerBlock,
    pub head_count_kv: PerBlock,
    pub key_length: Option<u32>,
    pub value_length: Option<u32>,
    pub key_length_swa: Option<u32>,
    pub value_length_swa: Option<u32>,
    pub sliding_window: Option<u32>,
    pub sliding_window_pattern: Option<WindowPattern>,
    pub shared_kv_layers: u32,
    pub key_length_mla: Option<u32>,
    pub value_length_mla: Option<u32>,
    pub kv_lora_rank: Option<u32>,
    pub q_lora_rank: Option<u32>,
    pub indexer_head_count: Option<u32>,
    pub indexer_key_length: Option<u32>,
    pub indexer_top_k: Option<u32>,
    pub indexer_layers: Option<&'static [bool]>,
    pub rope_dimension_count: Option<u32>,
    pub full_attention_interval: Option<u32>,
    pub recurrent_layers: Option<&'static [bool]>,
    pub expert_count: u32,
    pub expert_used_count: u32,
    pub expert_feed_forward_length: Option<u32>,
    pub expert_shared_feed_forward_length: Option<u32>,
    pub expert_shared_count: u32,
    pub moe_latent_size: u32,
    pub leading_dense_block_count: u32,
    pub interleave_moe_layer_step: u32,
    pub expert_group_count: u32,
    pub expert_group_used_count: u32,
    pub expert_gating_func: u32,
    pub ssm_inner_size: u32,
    pub ssm_state_size: u32,
    pub ssm_conv_kernel: u32,
    pub ssm_time_step_rank: u32,
    pub ssm_group_count: u32,
    pub kda_head_dim: u32,
    pub wkv_head_size: u32,
    pub token_shift_count: u32,
    pub decay_lora_rank: u32,
    pub iclr_lora_rank: u32,
    pub value_residual_mix_lora_rank: u32,
    pub gate_lora_rank: u32,
    pub shortconv_l_cache: u32,
    pub embedding_length_per_layer_input: u32,
    pub altup_num_inputs: u32,
    pub final_logit_softcapping: Option<f64>,
    pub embedding_scale: Option<f64>,
    pub residual_scale: Option<f64>,
    pub logit_scale: Option<f64>,
    pub facts: TensorFacts,
}

impl Architecture {
    /// An architecture about which nothing is said.
    pub const EMPTY: Self = Self {
        architecture: "",
        model_type: "",
        block_count: 0,
        nextn_predict_layers: 0,
        embedding_length: 0,
        vocab_size: 0,
        context_length: 0,
        feed_forward_length: PerBlock::Uniform(0),
        head_count: PerBlock::Uniform(0),
        head_count_kv: PerBlock::Uniform(0),
        key_length: None,
        value_length: None,
        key_length_swa: None,
        value_length_swa: None,
        sliding_window: None,
        sliding_window_pattern: None,
        shared_kv_layers: 0,
        key_length_mla: None,
        value_length_mla: None,
        kv_lora_rank: None,
        q_lora_rank: None,
        indexer_head_count: None,
        indexer_key_length: None,
        indexer_top_k: None,
        indexer_layers: None,
        rope_dimension_count: None,
        full_attention_interval: None,
        recurrent_layers: None,
        expert_count: 0,
        expert_used_count: 0,
        expert_feed_forward_length: None,
        expert_shared_feed_forward_length: None,
        expert_shared_count: 0,
        moe_latent_size: 0,
        leading_dense_block_count: 0,
        interleave_moe_layer_step: 0,
        expert_group_count: 0,
        expert_group_used_count: 0,
        expert_gating_func: 0,
        ssm_inner_size: 0,
        ssm_state_size: 0,
        ssm_conv_kernel: 0,
        ssm_time_step_rank: 0,
        ssm_group_count: 0,
        kda_head_dim: 0,
        wkv_head_size: 0,
        token_shift_count: 0,
        decay_lora_rank: 0,
        iclr_lora_rank: 0,
        value_residual_mix_lora_rank: 0,
        gate_lora_rank: 0,
        shortconv_l_cache: 0,
        embedding_length_per_layer_input: 0,
        altup_num_inputs: 0,
        final_logit_softcapping: None,
        embedding_scale: None,
        residual_scale: None,
        logit_scale: None,
        facts: TensorFacts::EMPTY,
    };
}

/// Parameter counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parameters {
    /// All unique weights that the model is published with: language model, towers and
    /// multi-token-prediction blocks; tied tables count once.
    pub total: u64,
    /// The language model alone, without towers and multi-token-prediction blocks.
    pub text: u64,
    /// Weights that take part in one token of the language model; equals `text` for dense models.
    pub active: Option<u64>,
    /// Vision and audio towers with their projectors.
    pub tower: Option<u64>,
    /// Multi-token-prediction blocks.
    pub mtp: Option<u64>,
    /// What the publisher's repository lists, where known. It differs from `total` where a tied
    /// table is stored twice.
    pub published: Option<u64>,
    /// How `text` compares with the count that follows from the architecture.
    pub check: ParameterCheck,
    /// `text` minus the count that follows from the architecture; 0 if exact.
    pub difference: i64,
    /// Why there is a difference.
    pub because: Option<&'static str>,
}

impl Parameters {
    /// No counts.
    pub const EMPTY: Self = Self {
        total: 0,
        text: 0,
        active: None,
        tower: None,
        mtp: None,
        published: None,
        check: ParameterCheck::Exact,
        difference: 0,
        because: None,
    };
}

/// An open model.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ModelRecord {
    /// The catalog id, for example `llama-3.1-8b`.
    pub id: &'static str,
    /// The name, for people.
    pub name: &'static str,
    /// Who made it.
    pub maker: &'static str,
    /// The family that it is listed in.
    pub family: &'static str,
    /// Month of release, `YYYY-MM`.
    pub release: Option<&'static str>,
    /// Licence, as the publisher names it.
    pub licence: &'static str,
    /// The publisher's repository on Hugging Face.
    pub hf_id: &'static str,
    /// The tag in Ollama's library.
    pub ollama_tag: Option<&'static str>,
    /// Further names that find this record.
    pub aliases: &'static [&'static str],
    /// What it takes in: `text`, `image`, `audio`, `video`.
    pub modalities: &'static [&'static str],
    /// How large a machine it asks for.
    pub class: ModelClass,
    /// File formats in which it is published.
    pub formats: &'static [&'static str],
    /// Multi-token-prediction blocks that the publisher's repository carries beside the main model; files may drop them.
    pub mtp_layers: u32,
    /// Parameter counts.
    pub parameters: Parameters,
    /// The architecture.
    pub architecture: Architecture,
    /// Fields that no source covers.
    pub unverified: &'static [&'static str],
    /// Where the rest comes from.
    pub sources: &'static [Source],
}

impl ModelRecord {
    /// A record without content.
    pub const EMPTY: Self = Self {
        id: "",
        name: "",
        maker: "",
        family: "",
        release: None,
        licence: "",
        hf_id: "",
        ollama_tag: None,
        aliases: &[],
        modalities: &[],
        class: ModelClass::Edge,
        formats: &[],
        mtp_layers: 0,
        parameters: Parameters::EMPTY,
        architecture: Architecture::EMPTY,
        unverified: &[],
        sources: &[],
    };
}

/// A device that models run on.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct HardwareRecord {
    /// The catalog id, for example `rtx-4090`.
    pub id: &'static str,
    /// The name, for people.
    pub name: &'static str,
    /// Who makes it.
    pub vendor: &'static str,
    /// What kind of device it is.
    pub kind: HardwareKind,
    /// The group that it is listed in.
    pub class: HardwareClass,
    /// Further names that find this record.
    pub aliases: &'static [&'static str],
    /// Memory on the nameplate in GiB, all chips of the board together; `None` for processors, whose memory the user states.
    pub memory_gib: Option<u32>,
    /// Separate devices on one board, each with an equal part of the memory.
    pub devices: u32,
    /// Total memory that `nvidia-smi` prints, in MiB.
    pub memory_mib_reported: Option<Fact<u32>>,
    /// Total memory that CUDA reports on Linux, in MiB.
    pub memory_mib_cuda: Option<Fact<u32>>,
    /// Total memory that CUDA reports on Windows and under WSL, in MiB.
    pub memory_mib_cuda_windows: Option<Fact<u32>>,
    /// Whether the memory is shared with the processor.
    pub unified: bool,
    /// Metal's default working-set limit up to macOS 15, in MiB.
    pub working_set_mib: Option<Fact<u32>>,
    /// Metal's default working-set limit from macOS 26, in MiB.
    pub working_set_mib_macos_26: Option<Fact<u32>>,
    /// Memory bandwidth on the nameplate, in GB/s (10^9 bytes), all devices of the board together.
    pub bandwidth_gb_s: Option<Fact<f64>>,
    /// Rate at 16-bit precision, in 10^12 operations per second.
    pub fp16_tflops: Option<Fact<f64>>,
    /// What that rate means: which units, dense or sparse, which input type.
    pub fp16_kind: Option<&'static str>,
    /// Rate of its matrix units on 8-bit floating point, dense (nothing skipped as zero), in 10^12 operations per second.
    /// `None` where no source states one, or where the units do not take that type.
    pub fp8_tflops: Option<Fact<f64>>,
    /// The same on 8-bit integers.
    pub int8_tops: Option<Fact<f64>>,
    /// The same on 4-bit floating point (NVFP4, MXFP4).
    pub fp4_tflops: Option<Fact<f64>>,
    /// What the rates at 8 and 4 bits mean: which units, and the type that products are summed in where the rate depends on it.
    pub low_precision_kind: Option<&'static str>,
    /// Kind of memory.
    pub memory_type: Option<&'static str>,
    /// Width of the memory bus in bits, per device.
    pub memory_bus_bits: Option<u32>,
    /// Transfers per second of one memory pin, in Gb/s.
    pub memory_rate_gbps: Option<f64>,
    /// How it is connected to the host and to its like.
    pub interconnect: Option<&'static str>,
    /// Power limit, in watts.
    pub tdp_w: Option<u32>,
    /// Month of launch, `YYYY-MM`.
    pub launch: Option<&'static str>,
    /// List price at launch, in US dollars.
    pub msrp_usd: Option<Fact<u32>>,
    /// Name of the chip's architecture.
    pub architecture: Option<&'static str>,
    /// CUDA compute capability, for example `8.9`.
    pub compute_capability: Option<&'static str>,
    /// What else must be known.
    pub note: Option<&'static str>,
    /// Fields that no source covers.
    pub unverified: &'static [&'static str],
    /// Where the rest comes from.
    pub sources: &'static [Source],
}

impl HardwareRecord {
    /// A record without content.
    pub const EMPTY: Self = Self {
        id: "",
        name: "",
        vendor: "",
        kind: HardwareKind::Discrete,
        class: HardwareClass::Cpu,
        aliases: &[],
        memory_gib: None,
        devices: 1,
        memory_mib_reported: None,
        memory_mib_cuda: None,
        memory_mib_cuda_windows: None,
        unified: false,
        working_set_mib: None,
        working_set_mib_macos_26: None,
        bandwidth_gb_s: None,
        fp16_tflops: None,
        fp16_kind: None,
        fp8_tflops: None,
        int8_tops: None,
        fp4_tflops: None,
        low_precision_kind: None,
        memory_type: None,
        memory_bus_bits: None,
        memory_rate_gbps: None,
        interconnect: None,
        tdp_w: None,
        launch: None,
        msrp_usd: None,
        architecture: None,
        compute_capability: None,
        note: None,
        unverified: &[],
        sources: &[],
    };
}

/// A published measurement of what a weight format costs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct QualityFigure {
    /// The model that was measured.
    pub model: &'static str,
    /// What was measured: `perplexity`, `ppl_delta`, `kld_mean`, or an accuracy.
    pub metric: &'static str,
    /// The figure.
    pub value: f64,
    /// The figure of the unquantised model, where it is comparable.
    pub baseline: Option<f64>,
    /// Whether an importance matrix was used, or which variant of the format it was.
    pub method: Option<&'static str>,
    /// The text that it was measured on.
    pub dataset: Option<&'static str>,
    /// Where it was published.
    pub url: &'static str,
}

impl QualityFigure {
    /// A figure without content.
    pub const EMPTY: Self = Self { model: "", metric: "", value: 0.0, baseline: None, method: None, dataset: None, url: "" };
}

/// A weight format.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct QuantRecord {
    /// The catalog id, for example `Q4_K_M`.
    pub id: &'static str,
    /// The name, for people.
    pub name: &'static str,
    /// The group that it is listed in: `gguf`, `float`, `hf`, `mlx`, `exl`.
    pub family: &'static str,
    /// Further names that find this record.
    pub aliases: &'static [&'static str],
    /// How a block is laid out, in words; for mixtures, which types are mixed.
    pub layout: &'static str,
    /// Weights in a block, for formats of one type.
    pub block_weights: Option<u32>,
    /// Bytes of a block, for formats of one type.
    pub block_bytes: Option<u32>,
    /// Bits per weight: of the type for formats of one type, of whole published models as a range for mixtures.
    pub bits_per_weight: Option<Fact<f64>>,
    /// Whether it mixes types, so that the exact size depends on the model.
    pub mixture: bool,
    /// What it is for.
    pub purpose: &'static str,
    /// What it does to answers.
    pub quality: Quality,
    /// Published measurements.
    pub figures: &'static [QualityFigure],
    /// Fields that no source covers.
    pub unverified: &'static [&'static str],
    /// Where the rest comes from.
    pub sources: &'static [Source],
}

impl QuantRecord {
    /// A record without content.
    pub const EMPTY: Self = Self {
        id: "",
        name: "",
        family: "",
        aliases: &[],
        layout: "",
        block_weights: None,
        block_bytes: None,
        bits_per_weight: None,
        mixture: false,
        purpose: "",
        quality: Quality::Reference,
        figures: &[],
        unverified: &[],
        sources: &[],
    };
}

/// A default of an engine that decides about memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EngineDefault {
    /// The engine's own name of the option.
    pub option: &'static str,
    /// Its default.
    pub value: &'static str,
    /// What it does to memory.
    pub effect: &'static str,
}

impl EngineDefault {
    /// A default without content.
    pub const EMPTY: Self = Self { option: "", value: "", effect: "" };
}

/// A program that runs models.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EngineRecord {
    /// The catalog id, for example `llama.cpp`.
    pub id: &'static str,
    /// The name, for people.
    pub name: &'static str,
    /// Who makes it.
    pub maker: &'static str,
    /// Further names that find this record.
    pub aliases: &'static [&'static str],
    /// What it is, in a sentence.
    pub summary: &'static str,
    /// When to pick it.
    pub pick_when: &'static str,
    /// Where it runs.
    pub platforms: &'static [&'static str],
    /// Which files it loads.
    pub formats: &'static [&'static str],
    /// How it is installed.
    pub install: &'static str,
    /// How a model is run; `{…}` stand for parts of a question.
    pub run: &'static str,
    /// Its licence.
    pub licence: &'static str,
    /// Its home.
    pub homepage: &'static str,
    /// The version that the facts are of.
    pub version: &'static str,
    /// Defaults that decide about memory.
    pub defaults: &'static [EngineDefault],
    /// Fields that no source covers.
    pub unverified: &'static [&'static str],
    /// Where the rest comes from.
    pub sources: &'static [Source],
}

impl EngineRecord {
    /// A record without content.
    pub const EMPTY: Self = Self {
        id: "",
        name: "",
        maker: "",
        aliases: &[],
        summary: "",
        pick_when: "",
        platforms: &[],
        formats: &[],
        install: "",
        run: "",
        licence: "",
        homepage: "",
        version: "",
        defaults: &[],
        unverified: &[],
        sources: &[],
    };
}

/// A term of the glossary.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TermRecord {
    /// The catalog id, for example `kv-cache`.
    pub id: &'static str,
    /// The term.
    pub name: &'static str,
    /// Further names that find this record.
    pub aliases: &'static [&'static str],
    /// What it means, in one to four sentences.
    pub text: &'static str,
    /// Ids of terms that belong to it.
    pub see_also: &'static [&'static str],
    /// Where more can be read.
    pub sources: &'static [Source],
}

impl TermRecord {
    /// A record without content.
    pub const EMPTY: Self = Self { id: "", name: "", aliases: &[], text: "", see_also: &[], sources: &[] };
}
