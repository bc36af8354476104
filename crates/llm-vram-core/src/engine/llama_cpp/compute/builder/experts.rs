//! Mixtures of experts (`llm_graph_context::build_moe_ffn`).

use super::{Builder, FeedForwardShape};
use crate::{
    engine::llama_cpp::compute::{
        graph_model::GraphModel,
        tensor::{Op, TensorId},
    },
    model::FeedForward,
};

/// How router logits become weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Gating {
    /// Softmax over all experts.
    Softmax,
    /// A sigmoid for each expert.
    Sigmoid,
    /// Softmax over the chosen experts only.
    SoftmaxOfChosen,
}

/// The switches of a mixture.
#[derive(Debug, Clone, Copy)]
pub(in super::super) struct Experts {
    pub(in super::super) gating: Gating,
    /// The weights of the chosen experts are made to sum to 1.
    pub(in super::super) normalises_weights: bool,
    /// The weights are multiplied by a constant.
    pub(in super::super) scales_weights: bool,
    /// A bias is added for the choice only.
    pub(in super::super) has_choice_bias: bool,
    /// Router and experts have biases.
    pub(in super::super) has_bias: bool,
    /// Inputs are weighted instead of outputs (Llama 4).
    pub(in super::super) weights_inputs: bool,
    /// Groups of experts, of which some are chosen first, and how many.
    pub(in super::super) groups: (u64, u64),
    /// Experts have a gate beside up and down.
    pub(in super::super) shape: FeedForwardShape,
}

impl Experts {
    pub(in super::super) const SOFTMAX: Self = Self {
        gating: Gating::Softmax,
        normalises_weights: false,
        scales_weights: false,
        has_choice_bias: false,
        has_bias: false,
        weights_inputs: false,
        groups: (0, 0),
        shape: FeedForwardShape::Gated,
    };

    pub(in super::super) const NORMALISED: Self = Self { normalises_weights: true, ..Self::SOFTMAX };

    pub(in super::super) const SIGMOID: Self = Self { gating: Gating::Sigmoid, ..Self::SOFTMAX };
}

impl Experts {
    /// Routing as the metadata describes it (`expert_gating_func`, `expert_weights_norm`,
    /// `expert_weights_scale`, expert groups, the selection bias).
    pub(in super::super) fn described(model: &GraphModel<'_>) -> Self {
        let hp = model.hp;
        let gating = match hp.expert_gating_func {
            0 if model.has_router_bias() => Gating::Sigmoid,
            2 => Gating::Sigmoid,
            3 => Gating::SoftmaxOfChosen,
            _ => Gating::Softmax,
        };
        Self {
            gating,
            normalises_weights: model.normalises_expert_weights(),
            scales_weights: model.scales_expert_weights(),
            has_choice_bias: model.has_router_bias(),
            groups: (hp.expert_group_count.into(), hp.expert_group_used_count.into()),
            ..Self::SOFTMAX
        }
    }
}

impl Builder<'_> {
    /// The feed-forward part of the current layer: dense, or routed and shared experts, as the model has it.
    pub(in super::super) fn feed_forward(&mut self, x: TensorId, experts: &Experts) -> TensorId {
        match self.model.feed_forward(self.layer) {
            FeedForward::Experts { shared_length, .. } if shared_length > 0 => {
                let routed = self.routed_experts(x, experts);
                let shared = self.shared_experts(x, shared_length.into(), experts.shape);
                self.graph.add(routed, shared)
            }
            FeedForward::Experts { .. } => self.routed_experts(x, experts),
            FeedForward::Dense { length } => self.dense(x, length.into(), FeedForwardShape::Gated, false),
            FeedForward::None => self.dense(x, 0, FeedForwardShape::Gated, false),
        }
    }

    /// The routed experts of the current layer.
    pub(in super::super) fn routed_experts(&mut self, x: TensorId, experts: &Experts) -> TensorId {
        let FeedForward::Experts { count, .. } = self.model.feed_forward(self.layer) else { return x };
        let bias = experts.has_bias.then_some("ffn_gate_inp.bias");
        let logits = self.linear_with_bias("ffn_gate_inp.weight", bias, x, count.into());
        self.routed_experts_by(x, logits, experts)
    }

    /// The routed experts of the current layer, chosen by given logits.
    pub(in super::super) fn routed_experts_by(&mut self, x: TensorId, logits: TensorId, experts: &Experts) -> TensorId {
        let FeedForward::Experts { count, used, length, .. } = self.model.feed_forward(self.layer) else { return x };
        let (count, used, length) = (u64::from(count), u64::from(used), u64::from(length));
        let [n_embd, n_tokens, ..] = self.graph.ne(x);
        let [chosen, weights] = self.route(logits, [count, used, n_tokens], experts);
        let mut rows = self.graph.reshape_3d(x, n_embd, 1, n_tokens);
        if experts.weights_inputs {
            let repeated = self.graph.repeat(rows, [n_embd, used, n_tokens, 1]);
            rows = self.graph.mul(repeated, weights);
        }
        let inner = self.expert_activations(rows, chosen, [n_embd, length, count], experts);
        let home = self.placement.experts(self.layer);
        let down = self.graph.weight("ffn_down_exps.weight", [length, n_embd, count, 1], home);
        let mut outputs = self.graph.mul_mat_id(down, inner, chosen);
        if experts.has_bias {
            outputs = self.expert_bias("ffn_down_exps.bias", outputs, count, chosen);
        }
        if !experts.weights_inputs {
            outputs = self.graph.mul(outputs, weights);
        }
        self.graph.expand(outputs);
        self.sum_of_experts(outputs, used)
    }

    /// The chosen experts of each token and their weights.
    fn route(&mut self, logits: TensorId, [count, used, n_tokens]: [u64; 3], experts: &Experts) -> [TensorId; 2] {
        let probabilities = match experts.gating {
            Gating::SoftmaxOfChosen => logits,
            Gating::Softmax => self.graph.soft_max(logits, TensorId::NONE, TensorId::NONE),
            Gating::Sigmoid => self.graph.sigmoid(logits),
        };
        let mut scores = if experts.has_choice_bias { self.bias("exp_probs_b.bias", probabilities) } else { probabilities };
        if experts.weights_inputs {
            scores = logits;
        }
        if experts.groups.0 > 1 {
            scores = self.mask_groups(scores, count, n_tokens, experts.groups);
        }
        let graph = &mut self.graph;
        let chosen = graph.argsort_top_k(scores, used);
        let as_rows = graph.reshape_3d(probabilities, 1, count, n_tokens);
        let mut weights = graph.get_rows(as_rows, chosen);
        if experts.gating == Gating::SoftmaxOfChosen {
            let flat = graph.reshape_2d(weights, used, n_tokens);
            let soft = graph.soft_max(flat, TensorId::NONE, TensorId::NONE);
            weights = graph.reshape_3d(soft, 1, used, n_tokens);
        }
        if experts.normalises_weights {
            let flat = graph.reshape_2d(weights, used, n_tokens);
            let sum = graph.sum_rows(flat);
            let sum = graph.map(Op::Clamp, sum);
            let share = graph.div(flat, sum);
            weights = graph.reshape_3d(share, 1, used, n_tokens);
        }
        if experts.scales_weights {
            weights = graph.scale(weights);
        }
        graph.expand(weights);
        [chosen, weights]
    }

    /// Scores with all but the best groups blanked out; a group counts by its two best experts.
    fn mask_groups(&mut self, scores: TensorId, count: u64, n_tokens: u64, (groups, used): (u64, u64)) -> TensorId {
        let graph = &mut self.graph;
        let size = count / groups;
        let by_group = graph.reshape_3d(scores, size, groups, n_tokens);
        let best_two = graph.argsort_top_k(by_group, 2);
        let single = graph.reshape(by_group, [1, size, groups, n_tokens]);
        let group_scores = graph.get_rows(single, best_two);
        let [_, n1, n2, n3] = graph.ne(group_scores);
        let group_scores = graph.reshape_3d(group_scores, n1, n2, n3);
        let group_scores = graph.sum_rows(group_scores);
        let [_, n1, n2, _] = graph.ne(group_scores);
        let group_scores = graph.reshape_2d(group_scores, n1, n2);
        let best_groups = graph.argsort_top_k(group_scores, used);
        let kept = graph.get_rows(by_group, best_groups);
        let blank = graph.map(Op::Fill, by_group);
        let masked = graph.set_rows(blank, kept, best_groups);
        graph.reshape_2d(masked, count, n_tokens)
    }

    /// What the down projections of the chosen experts read.
    fn expert_activations(&mut self, x: TensorId, chosen: TensorId, shape: [u64; 3], experts: &Experts) -> TensorId {
        let [n_embd, length, count] = shape;
        let home = self.placement.experts(self.layer);
        if self.model.hp.facts.fused_gate_up_exps {
            let weight = self.graph.weight("ffn_gate_up_exps.weight", [n_embd, 2 * length, count, 1], home);
            let both = self.graph.mul_mat_id(weight, x, chosen);
            let (ne, nb) = (self.graph.ne(both), self.graph.nb(both));
            let half = [length, ne[1], ne[2]];
            let gate = self.graph.view_3d(both, half, [nb[1], nb[2]], 0);
            let up = self.graph.view_3d(both, half, [nb[1], nb[2]], 4 * length);
            return self.graph.glu(gate, up);
        }
        let weight = self.graph.weight("ffn_up_exps.weight", [n_embd, length, count, 1], home);
        let mut up = self.graph.mul_mat_id(weight, x, chosen);
        if experts.has_bias {
            up = self.expert_bias("ffn_up_exps.bias", up, count, chosen);
        }
        match experts.shape {
            FeedForwardShape::Gated | FeedForwardShape::Fused => {
                let weight = self.graph.weight("ffn_gate_exps.weight", [n_embd, length, count, 1], home);
                let mut gate = self.graph.mul_mat_id(weight, x, chosen);
                if experts.has_bias {
                    gate = self.expert_bias("ffn_gate_exps.bias", gate, count, chosen);
                }
                self.graph.glu(gate, up)
            }
            FeedForwardShape::Ungated => self.graph.unary(up),
            FeedForwardShape::UngatedSquared => {
                let positive = self.graph.unary(up);
                self.graph.map(Op::Sqr, positive)
            }
        }
    }

    fn expert_bias(&mut self, stem: &'static str, x: TensorId, count: u64, chosen: TensorId) -> TensorId {
        let home = self.placement.experts(self.layer);
        let width = self.graph.ne(x)[0];
        let bias = self.graph.weight(stem, [width, count, 1, 1], home);
        self.graph.add_id(x, bias, chosen)
    }

    /// The sum over the experts of each token: one view for each expert, then one addition after another.
    fn sum_of_experts(&mut self, outputs: TensorId, used: u64) -> TensorId {
        let graph = &mut self.graph;
        let ([n_embd, _, n_tokens, _], nb) = (graph.ne(outputs), graph.nb(outputs));
        let first = graph.view_2d(outputs, [n_embd, n_tokens], nb[2], 0);
        graph.expand(first);
        let start = graph.len();
        for expert in 1..used {
            let view = graph.view_2d(outputs, [n_embd, n_tokens], nb[2], nb[1].saturating_mul(expert));
            graph.expand(view);
            if graph.is_too_large() {
                return first;
            }
        }
        let mut sum = first;
        for view in start..graph.len() {
            sum = graph.add(sum, TensorId(view as u32));
            graph.expand(sum);
        }
        if used == 1 { graph.cont(sum) } else { sum }
    }
}
