//! The common transformer: one attention block and one feed-forward block in each layer, with switches.

use crate::{
    engine::llama_cpp::compute::{
        builder::{AttentionInput, Builder, Experts, FeedForwardShape, Gating, Head, Normalisation, Projections},
        graph_model::is_factor,
        tensor::{Op, TensorId},
    },
    model::FeedForward,
    quant::GgmlType,
};

/// How queries and keys are normalised.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum QueryKeyNorm {
    /// Not at all.
    None,
    /// Each head, before RoPE.
    Heads,
    /// Each head, if the file has the weights (GLM-4.5).
    HeadsIfPresent,
    /// The whole row, before it is split into heads.
    Rows,
    /// Each head, after RoPE (Hunyuan).
    HeadsAfterRope,
    /// Each rotated head after RoPE without a weight; a temperature instead where RoPE is left out (Llama 4).
    AfterRope,
}

/// What norms compute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NormKind {
    /// RMS norms with a weight.
    Rms,
    /// Layer norms with weight and bias.
    Layer,
    /// Layer norms without either (OLMo).
    LayerOnly,
}

/// Gates on the attention output, before its projection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AttentionGate {
    /// None.
    None,
    /// One for each element (AFMoE).
    Element,
    /// One for each head (Step 3.5).
    Head,
}

/// Norms around the blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Norms {
    /// Before attention and feed-forward.
    Before,
    /// Before and after both.
    BeforeAndAfter,
    /// The same; all rows of the last layer go through the norm after attention (AFMoE).
    BeforeAndAfterAllRows,
    /// Before and after both, but the last one is not pinned to its device (GLM-4).
    BeforeAndAfterLoose,
    /// After both only.
    After,
    /// The same, but the last one is not pinned to its device (EXAONE 4).
    AfterLoose,
}

/// Which layers rotate queries and keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rope {
    /// All.
    Always,
    /// All but every fourth.
    ThreeOfFour,
    /// Windowed ones, or all if none is windowed.
    Windowed,
    /// None.
    Never,
}

/// The switches of the common transformer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Transformer {
    pub(super) qkv_bias: bool,
    pub(super) query_key_norm: QueryKeyNorm,
    pub(super) norms: Norms,
    pub(super) norm_kind: NormKind,
    pub(super) output_bias: bool,
    pub(super) feed_forward: FeedForwardShape,
    pub(super) feed_forward_bias: bool,
    pub(super) scales_queries: bool,
    pub(super) scales_embeddings: bool,
    /// Token embeddings are multiplied by an input, so that given vectors are not.
    pub(super) scales_tokens: bool,
    pub(super) scales_residuals: bool,
    pub(super) scales_logits: bool,
    pub(super) rope: Rope,
    pub(super) experts: Experts,
    /// The shared expert's output is gated (Qwen2-MoE).
    pub(super) gates_shared_experts: bool,
    /// The name of the norm before the feed-forward block.
    pub(super) feed_forward_norm: &'static str,
    pub(super) has_sinks: bool,
    pub(super) attention_gate: AttentionGate,
    /// Norms stand before the output matrices of both blocks (BitNet).
    pub(super) has_inner_norms: bool,
    /// A table of positions is added to the embeddings (GPT-2).
    pub(super) has_position_table: bool,
    /// All rows go through the last layer, and its output is kept for the caller (`t_h_nextn`).
    pub(super) keeps_last_hidden_state: bool,
}

const LAYERS_PER_PLAIN: u32 = 4;

impl Transformer {
    pub(super) const PLAIN: Self = Self {
        qkv_bias: false,
        query_key_norm: QueryKeyNorm::None,
        norms: Norms::Before,
        norm_kind: NormKind::Rms,
        output_bias: false,
        feed_forward: FeedForwardShape::Gated,
        feed_forward_bias: false,
        scales_queries: false,
        scales_embeddings: false,
        scales_tokens: false,
        scales_residuals: false,
        scales_logits: false,
        rope: Rope::Always,
        experts: Experts::NORMALISED,
        gates_shared_experts: false,
        feed_forward_norm: "ffn_norm.weight",
        has_sinks: false,
        attention_gate: AttentionGate::None,
        has_inner_norms: false,
        has_position_table: false,
        keeps_last_hidden_state: false,
    };
    pub(super) const LLAMA: Self = Self::PLAIN;
    pub(super) const QWEN2: Self = Self { qkv_bias: true, ..Self::PLAIN };
    pub(super) const QWEN3: Self = Self { query_key_norm: QueryKeyNorm::Heads, ..Self::PLAIN };
    pub(super) const SMOLLM3: Self = Self { rope: Rope::ThreeOfFour, ..Self::PLAIN };
    pub(super) const GEMMA: Self = Self { scales_embeddings: true, scales_queries: true, ..Self::PLAIN };
    pub(super) const GEMMA2: Self = Self { norms: Norms::BeforeAndAfter, ..Self::GEMMA };
    pub(super) const GEMMA3: Self =
        Self { scales_embeddings: false, scales_tokens: true, query_key_norm: QueryKeyNorm::Heads, ..Self::GEMMA2 };
    pub(super) const STARCODER2: Self = Self {
        norm_kind: NormKind::Layer,
        qkv_bias: true,
        output_bias: true,
        feed_forward: FeedForwardShape::Ungated,
        feed_forward_bias: true,
        ..Self::PLAIN
    };
    pub(super) const GLM4: Self =
        Self { qkv_bias: true, feed_forward: FeedForwardShape::Fused, norms: Norms::BeforeAndAfterLoose, ..Self::PLAIN };
    pub(super) const OLMO2: Self = Self { query_key_norm: QueryKeyNorm::Rows, norms: Norms::After, ..Self::PLAIN };
    pub(super) const GRANITE: Self = Self { scales_residuals: true, scales_logits: true, ..Self::PLAIN };
    pub(super) const MINIMAX_M2: Self = Self {
        query_key_norm: QueryKeyNorm::Rows,
        experts: Experts { normalises_weights: true, has_choice_bias: true, ..Experts::SIGMOID },
        ..Self::PLAIN
    };
    pub(super) const GPT_OSS: Self = Self {
        qkv_bias: true,
        output_bias: true,
        has_sinks: true,
        keeps_last_hidden_state: true,
        feed_forward_norm: "post_attention_norm.weight",
        experts: Experts { gating: Gating::SoftmaxOfChosen, has_bias: true, ..Experts::SOFTMAX },
        ..Self::PLAIN
    };
    pub(super) const LLAMA4: Self = Self {
        query_key_norm: QueryKeyNorm::AfterRope,
        rope: Rope::ThreeOfFour,
        experts: Experts { weights_inputs: true, ..Experts::SIGMOID },
        ..Self::PLAIN
    };
    pub(super) const GLM4_MOE: Self = Self {
        qkv_bias: true,
        query_key_norm: QueryKeyNorm::HeadsIfPresent,
        experts: Experts { has_choice_bias: true, ..Experts::SIGMOID },
        feed_forward_norm: "post_attention_norm.weight",
        ..Self::PLAIN
    };
    pub(super) const ERNIE45_MOE: Self = Self { experts: Experts { has_choice_bias: true, ..Experts::NORMALISED }, ..Self::PLAIN };

    pub(super) const EXAONE4: Self =
        Self { query_key_norm: QueryKeyNorm::Heads, norms: Norms::AfterLoose, rope: Rope::Windowed, ..Self::PLAIN };
    pub(super) const SEED_OSS: Self = Self { feed_forward_norm: "post_attention_norm.weight", ..Self::PLAIN };
    pub(super) const ARCEE: Self = Self { feed_forward: FeedForwardShape::UngatedSquared, ..Self::PLAIN };
    pub(super) const HUNYUAN: Self = Self { query_key_norm: QueryKeyNorm::HeadsAfterRope, ..Self::PLAIN };
    pub(super) const OLMOE: Self = Self { query_key_norm: QueryKeyNorm::Rows, experts: Experts::SOFTMAX, ..Self::PLAIN };
    pub(super) const QWEN2_MOE: Self = Self { experts: Experts::SOFTMAX, gates_shared_experts: true, ..Self::QWEN2 };

    pub(super) const STARCODER2_LIKE: Self =
        Self { feed_forward_bias: false, qkv_bias: false, output_bias: false, ..Self::STARCODER2 };
    pub(super) const NEMOTRON: Self = Self { feed_forward: FeedForwardShape::UngatedSquared, ..Self::STARCODER2_LIKE };
    pub(super) const JAIS2: Self = Self { feed_forward: FeedForwardShape::UngatedSquared, ..Self::STARCODER2 };
    pub(super) const GPT2: Self = Self { rope: Rope::Never, has_position_table: true, ..Self::STARCODER2 };
    pub(super) const OLMO: Self = Self { norm_kind: NormKind::LayerOnly, ..Self::PLAIN };
    pub(super) const APERTUS: Self = Self { feed_forward: FeedForwardShape::Ungated, ..Self::QWEN3 };
    pub(super) const BITNET: Self = Self { has_inner_norms: true, ..Self::PLAIN };
    pub(super) const DEEPSEEK: Self = Self { experts: Experts::SOFTMAX, ..Self::PLAIN };

    /// The same with routing as the metadata describes it.
    pub(super) fn with_described_router(self, builder: &Builder<'_>) -> Self {
        Self { experts: Experts::described(&builder.model), ..self }
    }

    /// Baichuan: the model of 32 layers rotates, the larger one biases its attention.
    pub(super) fn baichuan(builder: &Builder<'_>) -> Self {
        Self { rope: if builder.model.n_layer == 32 { Rope::Always } else { Rope::Never }, ..Self::PLAIN }
    }

    /// Bailing: one router design for Ling and Ling 2.0, whose heads are normalised.
    pub(super) fn bailing(builder: &Builder<'_>) -> Self {
        let heads = if builder.model.architecture() == "bailingmoe2" { QueryKeyNorm::Heads } else { QueryKeyNorm::None };
        Self { query_key_norm: heads, ..Self::PLAIN }.with_described_router(builder)
    }

    /// AFMoE (Trinity): norms around both blocks, gated attention, every fourth layer without RoPE.
    pub(super) fn afmoe(builder: &Builder<'_>) -> Self {
        Self {
            scales_embeddings: true,
            norms: Norms::BeforeAndAfterAllRows,
            rope: Rope::ThreeOfFour,
            attention_gate: AttentionGate::Element,
            ..Self::QWEN3
        }
        .with_described_router(builder)
    }

    /// K-EXAONE: only windowed layers rotate.
    pub(super) fn exaone_moe(builder: &Builder<'_>) -> Self {
        Self { rope: Rope::Windowed, ..Self::QWEN3 }.with_described_router(builder)
    }

    /// Step 3.5: a gate for each head, all rows to the end.
    pub(super) fn step35(builder: &Builder<'_>) -> Self {
        Self { attention_gate: AttentionGate::Head, keeps_last_hidden_state: true, ..Self::QWEN3 }.with_described_router(builder)
    }

    /// MiMo V2: sinks, keys wider than values.
    pub(super) fn mimo2(builder: &Builder<'_>) -> Self {
        let experts = Experts { gating: Gating::Sigmoid, normalises_weights: true, ..Experts::described(&builder.model) };
        Self { has_sinks: builder.model.may_have("attn_sinks.weight"), experts, ..Self::PLAIN }
    }

    /// DOTS.LLM1: the router as the metadata says.
    pub(super) fn dots1(builder: &Builder<'_>) -> Self {
        Self::generic(builder)
    }

    /// What an architecture without an op list is taken for: norms before the blocks and on queries and keys.
    pub(super) fn generic(builder: &Builder<'_>) -> Self {
        let gating = if builder.model.hp.expert_gating_func == 2 { Gating::Sigmoid } else { Gating::Softmax };
        let experts = Experts { gating, has_choice_bias: builder.model.has_router_bias(), ..Experts::NORMALISED };
        Self { query_key_norm: QueryKeyNorm::Heads, experts, ..Self::PLAIN }
    }

    /// Appends the whole graph.
    pub(super) fn build(&self, builder: &mut Builder<'_>) {
        let has_temperature = self.query_key_norm == QueryKeyNorm::AfterRope || scales_by_position(builder);
        let temperature = if has_temperature {
            builder.graph.input("attention temperature", GgmlType::F32, [1, 1, builder.sizes.n_tokens, 1])
        } else {
            TensorId::NONE
        };
        let mut x = builder.embeddings(self.scales_tokens);
        if self.scales_embeddings {
            x = builder.graph.scale(x);
        }
        let embeddings = x;
        let positions = builder.positions();
        if self.has_position_table {
            let table = builder.position_table();
            let rows = builder.graph.get_rows(table, positions);
            x = builder.graph.add(x, rows);
        }
        let [full, windowed] =
            if builder.model.window() > 0 { builder.windowed_attention_inputs() } else { [builder.attention_input(); 2] };
        let rows = builder.output_rows();
        let mut x = builder.for_each_layer(x, |builder, x| {
            let input = if builder.model.is_windowed(builder.layer) { windowed } else { full };
            let x = self.layer(builder, x, &input, [positions, temperature, rows]);
            builder.deepstack(embeddings, x)
        });
        if self.keeps_last_hidden_state {
            builder.mark_output(x);
            x = builder.keep_rows(x, rows);
        }
        let head = Head {
            norm: self.norm("output_norm.weight", "output_norm.bias"),
            is_scaled: self.scales_logits,
            is_capped: builder.model.caps_logits(),
            ..Head::RMS
        };
        builder.logits(x, head);
    }

    fn norm(&self, weight: &'static str, bias: &'static str) -> Normalisation {
        match self.norm_kind {
            NormKind::Rms => Normalisation::rms(weight),
            NormKind::Layer => Normalisation::layer(weight).with_bias(bias),
            NormKind::LayerOnly => Normalisation::LAYER_ONLY,
        }
    }

    fn layer(&self, builder: &mut Builder<'_>, x: TensorId, input: &AttentionInput, inputs: [TensorId; 3]) -> TensorId {
        let [positions, temperature, rows] = inputs;
        let has_norms_before = !matches!(self.norms, Norms::After | Norms::AfterLoose);
        let mut cur = if has_norms_before { builder.norm(self.norm("attn_norm.weight", "attn_norm.bias"), x) } else { x };
        let qkv = self.queries_keys_values(builder, cur, positions, temperature);
        let sinks = if self.has_sinks {
            builder.vector("attn_sinks.weight", builder.model.head_count(builder.layer))
        } else {
            TensorId::NONE
        };
        let normed = cur;
        cur = builder.attend(input, qkv, sinks);
        cur = match self.attention_gate {
            AttentionGate::None => cur,
            AttentionGate::Element => builder.gate_elements(cur, normed),
            AttentionGate::Head => builder.gate_heads(cur, normed),
        };
        if self.has_inner_norms {
            cur = builder.rms_norm("attn_sub_norm.weight", cur);
        }
        cur = builder.attention_output(cur, self.output_bias || builder.model.hp.facts.o_bias);
        if is_factor(builder.model.hp.value_scale) {
            cur = builder.graph.scale(cur);
        }
        if self.norms == Norms::BeforeAndAfterAllRows {
            cur = builder.rms_norm("post_attention_norm.weight", cur);
        }
        let mut residual = x;
        if !self.keeps_last_hidden_state {
            [cur, residual] = builder.keep_rows_of_last(cur, residual, rows);
        }
        if self.scales_residuals {
            cur = builder.graph.scale(cur);
        }
        if !matches!(self.norms, Norms::Before | Norms::BeforeAndAfterAllRows) {
            cur = builder.rms_norm("post_attention_norm.weight", cur);
        }
        let after_attention = builder.graph.add(cur, residual);
        cur = if has_norms_before {
            builder.norm(self.norm(self.feed_forward_norm, "ffn_norm.bias"), after_attention)
        } else {
            after_attention
        };
        cur = self.feed_forward_block(builder, cur);
        match self.norms {
            Norms::Before => {}
            Norms::BeforeAndAfterLoose | Norms::AfterLoose => {
                cur = builder.norm(Normalisation::rms("post_ffw_norm.weight").unpinned(), cur)
            }
            Norms::BeforeAndAfter | Norms::BeforeAndAfterAllRows | Norms::After => {
                cur = builder.rms_norm("post_ffw_norm.weight", cur)
            }
        }
        if self.scales_residuals {
            cur = builder.graph.scale(cur);
        }
        builder.graph.add(cur, after_attention)
    }

    fn feed_forward_block(&self, builder: &mut Builder<'_>, x: TensorId) -> TensorId {
        match builder.model.feed_forward(builder.layer) {
            FeedForward::Dense { length } if self.has_inner_norms => builder.dense_with_inner_norm(x, length.into()),
            FeedForward::Dense { length } => {
                let has_bias = self.feed_forward_bias || builder.model.hp.facts.ffn_bias;
                builder.dense(x, length.into(), self.feed_forward, has_bias)
            }
            FeedForward::Experts { shared_length, .. } if self.gates_shared_experts && shared_length > 0 => {
                let routed = builder.routed_experts(x, &self.experts);
                let logit = builder.linear("ffn_gate_inp_shexp.weight", x, 1);
                // A sigmoid, written as SiLU(x) / x.
                let silu = builder.graph.unary(logit);
                let gate = builder.graph.div(silu, logit);
                let shared = builder.shared_experts(x, shared_length.into(), FeedForwardShape::Gated);
                let shared = builder.graph.mul(shared, gate);
                builder.graph.add(routed, shared)
            }
            _ => builder.feed_forward(x, &self.experts),
        }
    }

    fn queries_keys_values(
        &self,
        builder: &mut Builder<'_>,
        x: TensorId,
        positions: TensorId,
        temperature: TensorId,
    ) -> Projections {
        let layer = builder.layer;
        let key = builder.model.key_length(layer);
        let qkv_bias = self.qkv_bias || builder.model.hp.facts.qkv_bias;
        let mut qkv = if self.query_key_norm == QueryKeyNorm::Rows {
            let (heads, heads_kv) = (builder.model.head_count(layer), builder.model.head_count_kv(layer));
            let value = builder.model.value_length(layer);
            let mut flat = builder.flat_projections(x, [key * heads, key * heads_kv, value * heads_kv], qkv_bias);
            flat.queries = builder.rms_norm("attn_q_norm.weight", flat.queries);
            flat.keys = builder.rms_norm("attn_k_norm.weight", flat.keys);
            builder.split_heads(flat)
        } else {
            builder.projections(x, qkv_bias)
        };
        // Step 3.5's windowed layers rotate without the factors.
        let has_factors = self.attention_gate != AttentionGate::Head || !builder.model.is_windowed(layer);
        let factors = if has_factors && builder.model.has_rope_factors() { builder.rope_factors(key / 2) } else { TensorId::NONE };
        let norms_heads = match self.query_key_norm {
            QueryKeyNorm::Heads => true,
            QueryKeyNorm::HeadsIfPresent => builder.model.hp.facts.qk_norm,
            _ => false,
        };
        if norms_heads {
            qkv.queries = builder.rms_norm("attn_q_norm.weight", qkv.queries);
            qkv.keys = builder.rms_norm("attn_k_norm.weight", qkv.keys);
        }
        let rotates = match self.rope {
            Rope::Always => true,
            Rope::ThreeOfFour => !(layer + 1).is_multiple_of(LAYERS_PER_PLAIN),
            Rope::Never => false,
            Rope::Windowed => builder.model.window() == 0 || builder.model.is_windowed(layer),
        };
        let rotates = rotates && !is_unrotated_granite(builder);
        if rotates {
            qkv = builder.rope_queries_and_keys(qkv, positions, factors);
        }
        if self.query_key_norm == QueryKeyNorm::HeadsAfterRope {
            qkv.queries = builder.rms_norm("attn_q_norm.weight", qkv.queries);
            qkv.keys = builder.rms_norm("attn_k_norm.weight", qkv.keys);
        }
        if self.query_key_norm == QueryKeyNorm::AfterRope {
            if rotates {
                qkv.queries = builder.graph.map(Op::RmsNorm, qkv.queries);
                qkv.keys = builder.graph.map(Op::RmsNorm, qkv.keys);
            } else {
                qkv.queries = builder.graph.mul(qkv.queries, temperature);
            }
        }
        if scales_by_position(builder) {
            qkv.queries = builder.graph.mul(qkv.queries, temperature);
        }
        if self.scales_queries {
            qkv.queries = builder.graph.scale(qkv.queries);
        }
        qkv
    }
}

/// Whether queries are multiplied by a temperature in every layer (Mistral 3).
fn scales_by_position(builder: &Builder<'_>) -> bool {
    builder.model.architecture() == "mistral3" && builder.model.has_attention_temperature()
}

/// Granite's loader alone takes `rope.scaling.finetuned` as a switch for RoPE.
fn is_unrotated_granite(builder: &Builder<'_>) -> bool {
    matches!(builder.model.architecture(), "granite" | "granitemoe") && builder.model.hp.rope_scaling_finetuned == Some(false)
}
