//! The common transformer: one attention block and one feed-forward block in each layer, with switches.

use crate::{
    engine::llama_cpp::compute::{
        builder::{AttentionInput, Builder, Experts, FeedForwardShape, Gating, Head, Normalisation, Projections},
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

/// Norms around the blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Norms {
    /// Before attention and feed-forward.
    Before,
    /// Before and after both.
    BeforeAndAfter,
    /// The same, but the last one is not pinned to its device (GLM-4).
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
}

/// The switches of the common transformer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Transformer {
    pub(super) qkv_bias: bool,
    pub(super) query_key_norm: QueryKeyNorm,
    pub(super) norms: Norms,
    /// Layer norms with bias instead of RMS norms.
    pub(super) has_layer_norms: bool,
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
    /// All rows go through the last layer, and its output is kept for the caller (`t_h_nextn`).
    pub(super) keeps_last_hidden_state: bool,
}

const LAYERS_PER_PLAIN: u32 = 4;

impl Transformer {
    pub(super) const PLAIN: Self = Self {
        qkv_bias: false,
        query_key_norm: QueryKeyNorm::None,
        norms: Norms::Before,
        has_layer_norms: false,
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
        has_layer_norms: true,
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
        let temperature = if self.query_key_norm == QueryKeyNorm::AfterRope {
            builder.graph.input("attention temperature", GgmlType::F32, [1, 1, builder.sizes.n_tokens, 1])
        } else {
            TensorId::NONE
        };
        let mut x = builder.embeddings(self.scales_tokens);
        if self.scales_embeddings {
            x = builder.graph.scale(x);
        }
        let positions = builder.positions();
        let [full, windowed] =
            if builder.model.window() > 0 { builder.windowed_attention_inputs() } else { [builder.attention_input(); 2] };
        let rows = builder.output_rows();
        let mut x = builder.for_each_layer(x, |builder, x| {
            let input = if builder.model.is_windowed(builder.layer) { windowed } else { full };
            self.layer(builder, x, &input, [positions, temperature, rows])
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
        if self.has_layer_norms { Normalisation::layer(weight).with_bias(bias) } else { Normalisation::rms(weight) }
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
        cur = builder.attend(input, qkv, sinks);
        cur = builder.attention_output(cur, self.output_bias || builder.model.hp.facts.o_bias);
        let mut residual = x;
        if !self.keeps_last_hidden_state {
            [cur, residual] = builder.keep_rows_of_last(cur, residual, rows);
        }
        if self.scales_residuals {
            cur = builder.graph.scale(cur);
        }
        if self.norms != Norms::Before {
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
            Norms::BeforeAndAfter | Norms::After => cur = builder.rms_norm("post_ffw_norm.weight", cur),
        }
        if self.scales_residuals {
            cur = builder.graph.scale(cur);
        }
        builder.graph.add(cur, after_attention)
    }

    fn feed_forward_block(&self, builder: &mut Builder<'_>, x: TensorId) -> TensorId {
        match builder.model.feed_forward(builder.layer) {
            FeedForward::Dense { length } => builder.dense(x, length.into(), self.feed_forward, self.feed_forward_bias),
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
        let factors = if builder.model.has_rope_factors() { builder.rope_factors(key / 2) } else { TensorId::NONE };
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
            Rope::Windowed => builder.model.window() == 0 || builder.model.is_windowed(layer),
        };
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
        if self.scales_queries {
            qkv.queries = builder.graph.scale(qkv.queries);
        }
        qkv
    }
}
