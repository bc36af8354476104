//! Writing values as Rust literals.

use llm_vram_core::model::{Facts, Hyperparameters, MtpExtra, PerLayer, WindowPattern};
use serde_json::Value;

/// A value that can be written as a Rust expression for a constant.
pub trait Literal {
    /// Writes the expression.
    fn literal(&self, out: &mut String);

    /// Whether the empty record of the catalog already holds this value.
    fn is_empty(&self) -> bool;
}

impl Literal for String {
    fn literal(&self, out: &mut String) {
        out.push_str(&format!("{self:?}"));
    }
    fn is_empty(&self) -> bool {
        self.is_empty()
    }
}

impl Literal for bool {
    fn literal(&self, out: &mut String) {
        out.push_str(if *self { "true" } else { "false" });
    }
    fn is_empty(&self) -> bool {
        !self
    }
}

macro_rules! integers {
    ($($type:ty),*) => {
        $(impl Literal for $type {
            fn literal(&self, out: &mut String) {
                out.push_str(&self.to_string());
            }
            fn is_empty(&self) -> bool {
                *self == 0
            }
        })*
    };
}
integers!(u32, u64, i64);

impl Literal for f64 {
    fn literal(&self, out: &mut String) {
        // `{:?}` is the shortest text that reads back as the same number, and always has a point or exponent.
        out.push_str(&format!("{self:?}"));
    }
    fn is_empty(&self) -> bool {
        *self == 0.0
    }
}

impl<T: Literal> Literal for Option<T> {
    fn literal(&self, out: &mut String) {
        match self {
            None => out.push_str("None"),
            Some(value) => {
                out.push_str("Some(");
                value.literal(out);
                out.push(')');
            }
        }
    }
    fn is_empty(&self) -> bool {
        self.is_none()
    }
}

impl<T: Literal> Literal for Vec<T> {
    fn literal(&self, out: &mut String) {
        out.push_str("&[");
        for (position, value) in self.iter().enumerate() {
            if position > 0 {
                out.push(',');
            }
            value.literal(out);
        }
        out.push(']');
    }
    fn is_empty(&self) -> bool {
        self.is_empty()
    }
}

impl Literal for PerLayer<u32> {
    fn literal(&self, out: &mut String) {
        match self {
            Self::Uniform(value) => out.push_str(&format!("PerBlock::Uniform({value})")),
            Self::Each(values) => {
                out.push_str("PerBlock::Each(");
                values.literal(out);
                out.push(')');
            }
        }
    }
    fn is_empty(&self) -> bool {
        *self == Self::Uniform(0)
    }
}

impl Literal for WindowPattern {
    fn literal(&self, out: &mut String) {
        match self {
            Self::Period(period) => out.push_str(&format!("WindowPattern::Period({period})")),
            Self::Each(flags) => {
                out.push_str("WindowPattern::Each(");
                flags.literal(out);
                out.push(')');
            }
        }
    }
    fn is_empty(&self) -> bool {
        false
    }
}

impl Literal for (u32, u32) {
    fn literal(&self, out: &mut String) {
        out.push_str(&format!("({},{})", self.0, self.1));
    }
    fn is_empty(&self) -> bool {
        false
    }
}

impl Literal for MtpExtra {
    fn literal(&self, out: &mut String) {
        out.push_str(match self {
            Self::None => "MtpExtra::None",
            Self::HeadNorm => "MtpExtra::HeadNorm",
            Self::OwnTables => "MtpExtra::OwnTables",
        });
    }
    fn is_empty(&self) -> bool {
        *self == Self::None
    }
}

/// Writes those fields of a structure that differ from the empty one, and the empty one for the rest.
pub struct Structure<'a> {
    out: &'a mut String,
    name: &'static str,
    complete: bool,
}

impl<'a> Structure<'a> {
    /// Begins a structure.
    pub fn begin(out: &'a mut String, name: &'static str) -> Self {
        out.push_str(name);
        out.push('{');
        Self { out, name, complete: true }
    }

    /// Writes a field, unless the empty structure already holds its value.
    pub fn field<T: Literal>(&mut self, name: &str, value: &T) {
        if value.is_empty() {
            self.complete = false;
        } else {
            self.always(name, value);
        }
    }

    /// Writes a field.
    pub fn always<T: Literal>(&mut self, name: &str, value: &T) {
        self.out.push_str(name);
        self.out.push(':');
        value.literal(self.out);
        self.out.push(',');
    }

    /// Ends the structure.
    pub fn end(self) {
        if self.complete {
            self.out.pop();
            self.out.push('}');
        } else {
            self.out.push_str(&format!("..{}::EMPTY}}", self.name));
        }
    }
}

/// Calls a macro with the fields of the calculator's description that records have, the facts apart.
macro_rules! embedded_fields {
    ($with:ident) => {
        $with!(
            architecture,
            model_type,
            block_count,
            nextn_predict_layers,
            embedding_length,
            vocab_size,
            context_length,
            feed_forward_length,
            head_count,
            head_count_kv,
            key_length,
            value_length,
            key_length_swa,
            value_length_swa,
            sliding_window,
            sliding_window_pattern,
            shared_kv_layers,
            key_length_mla,
            value_length_mla,
            kv_lora_rank,
            q_lora_rank,
            indexer_head_count,
            indexer_key_length,
            indexer_top_k,
            indexer_layers,
            rope_dimension_count,
            full_attention_interval,
            recurrent_layers,
            expert_count,
            expert_used_count,
            expert_feed_forward_length,
            expert_shared_feed_forward_length,
            expert_shared_count,
            moe_latent_size,
            leading_dense_block_count,
            interleave_moe_layer_step,
            expert_group_count,
            expert_group_used_count,
            expert_gating_func,
            ssm_inner_size,
            ssm_state_size,
            ssm_conv_kernel,
            ssm_time_step_rank,
            ssm_group_count,
            kda_head_dim,
            wkv_head_size,
            token_shift_count,
            decay_lora_rank,
            iclr_lora_rank,
            value_residual_mix_lora_rank,
            gate_lora_rank,
            shortconv_l_cache,
            embedding_length_per_layer_input,
            altup_num_inputs,
            final_logit_softcapping,
            embedding_scale,
            residual_scale,
            logit_scale,
        )
    };
}
/// Calls a macro with the facts that records have.
macro_rules! embedded_facts {
    ($with:ident) => {
        $with!(
            tied,
            qkv_bias,
            o_bias,
            ffn_bias,
            fused_qkv,
            fused_gate_up_exps,
            exp_probs_b,
            rope_freqs,
            rope_factors,
            qk_norm,
            conv_bias,
            ssm_norm,
            output_bias,
            cls_out,
            layer_scale,
            v_on_full,
            kv_on_shared,
            fused_ssm_in,
            attn_norm_2,
            moe_layers,
            mtp_extra,
        )
    };
}

/// Field names of the calculator's description that are not written: the record's own name takes their place.
const NOT_WRITTEN: [&str; 2] = ["name", "facts"];

impl Literal for Hyperparameters {
    fn literal(&self, out: &mut String) {
        let mut structure = Structure::begin(out, "Architecture");
        structure.complete = false;
        macro_rules! fields {
            ($($field:ident),* $(,)?) => {{
                $(structure.field(stringify!($field), &self.$field);)*
            }};
        }
        embedded_fields!(fields);
        if !Literal::is_empty(&self.facts) {
            structure.always("facts", &self.facts);
        }
        structure.end();
    }
    fn is_empty(&self) -> bool {
        false
    }
}

/// Names of the description's fields and of its facts that records have, in the order in which they are written.
#[must_use]
pub const fn embedded_names() -> (&'static [&'static str], &'static [&'static str]) {
    macro_rules! names {
        ($($field:ident),* $(,)?) => { &[$(stringify!($field)),*] };
    }
    (embedded_fields!(names), embedded_facts!(names))
}

/// Names of fields that hold a value and that records do not have.
#[must_use]
pub fn not_embedded(description: &Hyperparameters) -> Vec<String> {
    let (fields, facts) = embedded_names();
    let mut found = unknown(serde_json::to_value(description), serde_json::to_value(Hyperparameters::default()), fields);
    found.retain(|name| !NOT_WRITTEN.contains(&name.as_str()));
    found.extend(unknown(serde_json::to_value(&description.facts), serde_json::to_value(Facts::default()), facts));
    found
}

fn unknown(found: serde_json::Result<Value>, empty: serde_json::Result<Value>, known: &[&str]) -> Vec<String> {
    let (Ok(Value::Object(found)), Ok(Value::Object(empty))) = (found, empty) else { return vec!["(not an object)".to_owned()] };
    let lost = |name: &str, value: &Value| !known.contains(&name) && empty.get(name) != Some(value);
    found.into_iter().filter(|(name, value)| lost(name, value)).map(|(name, _)| name).collect()
}

impl Literal for Facts {
    fn literal(&self, out: &mut String) {
        let mut structure = Structure::begin(out, "TensorFacts");
        structure.complete = false;
        let empty = Self::default();
        macro_rules! fields {
            ($($field:ident),* $(,)?) => {
                $(if self.$field != empty.$field {
                    structure.always(stringify!($field), &self.$field);
                })*
            };
        }
        embedded_facts!(fields);
        structure.end();
    }
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}
